/* waymark simulate: real traffic of a seeded shop, at a rate or flat out. Each connection is a thread with a shop of
 * its own, so the set of events depends on the seed alone, whatever the timing. A sender behaves as an SDK does: it
 * sends again until it is acked, and now and then once more for nothing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/shop.h"
#include "common/clock.h"
#include "common/num.h"

#define MAX_CONNECTIONS 64
#define MAX_BATCH 1000
#define DISORDER 64 /* events held back and sent in random order */

struct plan {
    const struct conf *conf;
    uint64_t seed, events, rate, people, batch, connections, patience_s;
    int64_t start;
    char *server_basic, *beacon_basic;
    int acked_fd; /* journal of acked events, -1: none */
};

struct counts {
    uint64_t sent, accepted, refused, repeated, failed;
    uint64_t pages, tracks, identifies, orders;
};

struct sender {
    const struct plan *plan;
    uint64_t events; /* to send */
    struct shop *shop;
    struct client *client[2]; /* by shop_kind */
    struct client_answer answer;
    struct json_parser *parser;
    struct buf held[DISORDER];
    struct shop_event held_event[DISORDER];
    size_t held_n;
    struct buf body[2], journal[2];
    size_t body_n[2];
    struct client_patience patience;
    char problem[256]; /* why the last request failed that did */
    struct counts counts;
    pthread_t thread;
};

static void write_journal(const struct sender *s, const struct buf *lines)
{
    /* One write for a request's lines: appends of several threads do not mix. */
    if (s->plan->acked_fd >= 0 && lines->n && write(s->plan->acked_fd, lines->p, lines->n) != (ssize_t)lines->n)
        cli_error("the journal of acked events cannot be written");
}

static bool send_body(struct sender *s, int kind)
{
    static const char *const route[] = {"/v1/batch", "/v1/orders"};

    return client_post(s->client[kind], route[kind], buf_str(&s->body[kind]), &s->patience, &s->answer);
}

static void flush(struct sender *s, int kind)
{
    if (!s->body_n[kind])
        return;
    buf_add_char(&s->body[kind], ']');
    if (send_body(s, kind)) {
        const struct json *accepted = json_get(client_json(s->parser, &s->answer), "accepted");
        uint64_t n = accepted ? strtoull(accepted->text.p, NULL, 10) : 0;
        s->counts.accepted += n;
        s->counts.refused += s->body_n[kind] - n;
        write_journal(s, &s->journal[kind]);
        if (shop_random(s->shop, 25) == 0) { /* the answer was lost on the way, says the SDK */
            s->counts.repeated += s->body_n[kind];
            send_body(s, kind);
        }
    } else {
        s->counts.failed += s->body_n[kind];
        snprintf(s->problem, sizeof s->problem, "%.*s", STR_ARG(client_problem(s->parser, &s->answer)));
    }
    s->body_n[kind] = 0;
    buf_reset(&s->body[kind]);
    buf_reset(&s->journal[kind]);
}

static void count_type(struct counts *c, const char *type)
{
    c->sent++;
    c->pages += !strcmp(type, "page");
    c->tracks += !strcmp(type, "track");
    c->identifies += !strcmp(type, "identify");
    c->orders += !strcmp(type, "order");
}

static void send_held(struct sender *s, size_t i)
{
    struct shop_event *e = &s->held_event[i];
    int kind = e->kind;

    buf_add_char(&s->body[kind], s->body_n[kind]++ ? ',' : '[');
    buf_add_str(&s->body[kind], buf_str(&s->held[i]));
    buf_addf(&s->journal[kind], "%s\t%s\n", e->profile, e->message_id);
    count_type(&s->counts, e->type);
    struct buf last = s->held[s->held_n - 1];
    s->held[s->held_n - 1] = s->held[i];
    s->held[i] = last;
    *e = s->held_event[s->held_n - 1];
    s->held_n--;
    if (s->body_n[kind] == s->plan->batch)
        flush(s, kind);
}

/* Waits so that events leave at the rate asked for. */
static void pace(const struct sender *s, int64_t began)
{
    if (!s->plan->rate)
        return;
    int64_t due = began + (int64_t)(s->counts.sent * 1000 * s->plan->connections / s->plan->rate);
    struct timespec until = {due / 1000, due % 1000 * 1000000};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void *run_sender(void *arg)
{
    struct sender *s = arg;
    int64_t began = clock_monotonic();

    for (uint64_t i = 0; i < s->events; i++) {
        buf_reset(&s->held[s->held_n]);
        shop_next(s->shop, clock_now(), &s->held[s->held_n], &s->held_event[s->held_n]);
        if (++s->held_n == DISORDER)
            send_held(s, shop_random(s->shop, 4) ? 0 : shop_random(s->shop, DISORDER));
        pace(s, began);
    }
    while (s->held_n)
        send_held(s, 0);
    flush(s, SHOP_BEACON);
    flush(s, SHOP_ORDER_LOG);
    return NULL;
}

static bool sender_init(struct sender *s, const struct plan *plan, unsigned number)
{
    const struct conf_collector *conf = &plan->conf->collector;

    s->plan = plan;
    s->patience = (struct client_patience){.limit_ms = (int64_t)plan->patience_s * 1000, .quiet = number > 0};
    s->events = plan->events / plan->connections + (number < plan->events % plan->connections);
    s->shop = shop_new(plan->seed, number, (unsigned)(plan->people / plan->connections), plan->start);
    s->client[SHOP_BEACON] = client_new(conf->listen, &conf->tls, plan->beacon_basic);
    s->client[SHOP_ORDER_LOG] = client_new(conf->listen, &conf->tls, plan->server_basic);
    s->parser = json_parser_new();
    for (size_t i = 0; i < DISORDER; i++)
        buf_init(&s->held[i], 1 << 16);
    for (int i = 0; i < 2; i++) {
        buf_init(&s->body[i], 64u << 20);
        buf_init(&s->journal[i], 1 << 20);
    }
    return s->shop && s->client[0] && s->client[1] && s->parser;
}

static void sender_deinit(struct sender *s)
{
    for (size_t i = 0; i < DISORDER; i++)
        buf_deinit(&s->held[i]);
    for (int i = 0; i < 2; i++) {
        buf_deinit(&s->body[i]);
        buf_deinit(&s->journal[i]);
        client_free(s->client[i]);
    }
    client_answer_free(&s->answer);
    json_parser_free(s->parser);
    shop_free(s->shop);
}

static void print_counts(const struct sender *senders, uint64_t n, double seconds)
{
    struct counts t = {0};
    uint64_t requests = 0, retries = 0;
    const char *problem = "";

    for (uint64_t i = 0; i < n; i++) {
        const uint64_t *from = (const uint64_t *)&senders[i].counts;
        for (size_t k = 0; k < sizeof t / sizeof(uint64_t); k++)
            ((uint64_t *)&t)[k] += from[k];
        requests += senders[i].patience.requests;
        retries += senders[i].patience.retries;
        problem = senders[i].problem[0] ? senders[i].problem : problem;
    }
    printf("sent       %10" PRIu64 "  (%" PRIu64 " pages, %" PRIu64 " tracks, %" PRIu64 " identify calls, %" PRIu64
           " order logs)\n",
           t.sent, t.pages, t.tracks, t.identifies, t.orders);
    printf("accepted   %10" PRIu64 "  refused %" PRIu64 ", never acked %" PRIu64 "\n", t.accepted, t.refused, t.failed);
    printf("requests   %10" PRIu64 "  %" PRIu64 " sent again, %" PRIu64 " events repeated for nothing\n", requests,
           retries, t.repeated);
    printf("took       %10.1f s  %.0f events/s\n", seconds, seconds > 0 ? (double)t.sent / seconds : 0);
    if (t.failed)
        cli_error("some were never acked: %s", problem);
}

static int run_plan(const struct plan *plan)
{
    struct sender *senders = calloc(plan->connections, sizeof *senders);
    int64_t began = clock_monotonic();
    uint64_t started = 0, failed = 0;
    bool good = senders != NULL;

    for (uint64_t i = 0; good && i < plan->connections; i++)
        good = sender_init(&senders[i], plan, (unsigned)i);
    for (; good && started < plan->connections; started++)
        good = pthread_create(&senders[started].thread, NULL, run_sender, &senders[started]) == 0;
    for (uint64_t i = 0; i < started; i++)
        pthread_join(senders[i].thread, NULL);
    if (good)
        print_counts(senders, plan->connections, (double)(clock_monotonic() - began) / 1000);
    else
        cli_error("out of memory or threads");
    for (uint64_t i = 0; senders && i < plan->connections; i++) {
        failed += senders[i].counts.failed;
        sender_deinit(&senders[i]);
    }
    free(senders);
    return good && !failed ? EXIT_OK : EXIT_FAILED;
}

int cli_simulate(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *seed = NULL, *events = NULL, *rate = NULL, *people = NULL, *batch = NULL, *connections = NULL,
                        *start = NULL, *acked = NULL, *patience = NULL;
    const struct cli_option options[] = {
        {"seed", "N", "of everything random (default 1)", NULL, &seed},
        {"events", "N", "how many (default 10000)", NULL, &events},
        {"rate", "N", "events a second; 0: flat out (default)", NULL, &rate},
        {"people", "N", "in the shop (default 1000)", NULL, &people},
        {"batch", "N", "events a request (default 20)", NULL, &batch},
        {"connections", "N", "senders at once (default 4)", NULL, &connections},
        {"start", "TIME", "event time of the first visits (default: 60 days ago)", NULL, &start},
        {"acked", "FILE", "append profile and message id of every acked event", NULL, &acked},
        {"patience", "S", "seconds for which an outage is waited out (default 60)", NULL, &patience},
    };
    struct plan plan = {.acked_fd = -1};
    int code;

    if (!cli_args(c, options, sizeof options / sizeof *options, &argc, argv, &config, &code))
        return code;
    if (argc)
        return cli_usage_error(c, "no arguments are taken");
    if (!cli_number(c, "seed", seed, 1, 0, UINT64_MAX / 2, &plan.seed) ||
        !cli_number(c, "events", events, 10000, 1, UINT64_C(1) << 40, &plan.events) ||
        !cli_number(c, "rate", rate, 0, 0, 10000000, &plan.rate) ||
        !cli_number(c, "people", people, 1000, 1, 100000000, &plan.people) ||
        !cli_number(c, "batch", batch, 20, 1, MAX_BATCH, &plan.batch) ||
        !cli_number(c, "connections", connections, 4, 1, MAX_CONNECTIONS, &plan.connections) ||
        !cli_number(c, "patience", patience, 60, 0, 86400, &plan.patience_s))
        return EXIT_USAGE;
    plan.start = clock_now() - 60 * TIME_DAY;
    if (start && time_parse(str_of(start), &plan.start) != 0)
        return cli_usage_error(c, "--start is a time such as 2026-01-31T10:00:00Z");
    struct conf *conf = cli_conf(config);
    const char *beacon = conf ? cli_beacon_key(conf) : NULL;
    char *server = conf ? cli_secret(conf, "server_key") : NULL;
    code = EXIT_FAILED;
    if (conf && !beacon)
        cli_error("the configuration has no beacon key");
    if (acked && (plan.acked_fd = open(acked, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) < 0)
        cli_error("cannot write %s: %s", acked, strerror(errno));
    else if (beacon && server) {
        plan.conf = conf;
        plan.beacon_basic = client_basic(beacon);
        plan.server_basic = client_basic(server);
        code = plan.beacon_basic && plan.server_basic ? run_plan(&plan) : EXIT_FAILED;
    }
    if (plan.acked_fd >= 0)
        close(plan.acked_fd);
    free(plan.beacon_basic);
    free(plan.server_basic);
    free(server);
    conf_free(conf);
    return code;
}
