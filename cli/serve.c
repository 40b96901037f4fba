/* waymark serve: collector and profiler in one process on the embedded log. It only wires: the main thread builds the
 * parts, waits for a signal as data, and takes them down in the order of the data's path. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "collector/collector.h"
#include "common/event_log.h"
#include "common/log.h"
#include "common/process.h"
#include "common/seal.h"
#include "common/stats.h"
#include "profiler/profiler.h"

#define STOP_COLLECTOR_MS 5000
#define STOP_PROFILER_MS 60000

struct parts {
    const struct conf *conf;
    struct event_log *log, *spool; /* spool NULL: the log needs none */
    struct stats *collector_stats, *profiler_stats;
    struct profiler *profiler;
    struct collector *collector;
};

/* The first start makes the keys that seal personal values, unless others have theirs on the same log. */
static int make_keys(const struct conf *conf, struct err *e)
{
    bool made = false;
    int r = conf->kafka ? 0 : seal_keys_init(conf->keys, &made, e);

    if (r == 0 && made)
        log_info("keys: made in %s; keep a copy of it apart from the data", conf->keys);
    return r;
}

static int start_parts(struct parts *p, struct err *e)
{
    int r = make_keys(p->conf, e);

    if (r == 0)
        r = process_open_log(p->conf, &p->log, e);

    if (r == 0)
        r = process_open_spool(p->conf, &p->spool, e);
    p->collector_stats = stats_new();
    p->profiler_stats = stats_new();
    if (r == 0 && (!p->collector_stats || !p->profiler_stats))
        r = -ENOMEM;
    if (r == 0)
        r = profiler_start(p->conf, p->log, p->profiler_stats, &p->profiler, e);
    if (r == 0)
        r = collector_start(p->conf, p->log, p->spool, p->collector_stats, &p->collector, e);
    return r;
}

/* Returns 0 when everything acked is on disk. */
static int stop_parts(struct parts *p)
{
    collector_stop(p->collector, STOP_COLLECTOR_MS);
    int r = profiler_stop(p->profiler, STOP_PROFILER_MS);
    event_log_close(p->log);
    event_log_close(p->spool);
    stats_free(p->collector_stats);
    stats_free(p->profiler_stats);
    return r;
}

static void print_next_steps(const struct parts *p)
{
    const char *key = cli_beacon_key(p->conf), *web = p->conf->collector.tls.certificate ? "https" : "http";
    unsigned collect = collector_port(p->collector), look = profiler_port(p->profiler);

    printf("\nwaymark %s is up: collector on port %u, profiler on port %u\n\n", WAYMARK_VERSION, collect, look);
    if (key) {
        printf(
            "Put this on a page of your shop:\n\n"
            "  <script>fetch('%s://127.0.0.1:%u/v1/page', {method: 'POST', keepalive: true, body: JSON.stringify({\n"
            "    writeKey: '%s', anonymousId: localStorage.wm || (localStorage.wm = crypto.randomUUID()),\n"
            "    properties: {url: location.href, title: document.title, referrer: document.referrer}})})</script>\n\n"
            "or send an event by hand:\n\n"
            "  curl -u %s: %s://127.0.0.1:%u/v1/track -d \\\n"
            "    '{\"userId\":\"42\",\"event\":\"Product "
            "Viewed\",\"properties\":{\"category\":\"Shoes\",\"price\":59.9}}'\n\n",
            web, collect, key, key, web, collect);
    }
    printf("and look at what it did (TOKEN stands in waymark.secrets):\n\n"
           "  curl -H \"Authorization: Bearer TOKEN\" %s://127.0.0.1:%u/v1/profiles/user:42\n\n",
           p->conf->profiler.tls.certificate ? "https" : "http", look);
    fflush(stdout);
}

static void reload(void *arg)
{
    profiler_reload(arg);
}

static int run(const struct conf *conf)
{
    struct parts p = {.conf = conf};
    struct err e = {0};

    process_begin();
    int r = start_parts(&p, &e);
    if (r == 0) {
        print_next_steps(&p);
        process_wait_reloading(reload, p.profiler);
    } else {
        cli_error("cannot start: %s", e.text[0] ? e.text : strerror(-r));
    }
    if (stop_parts(&p) != 0 && r == 0)
        r = cli_error("not everything was folded before the stop; the next start goes on from there");
    return r == 0 ? EXIT_OK : EXIT_FAILED;
}

int cli_serve(const struct cli_command *c, int argc, char **argv)
{
    const char *config;
    bool init = false;
    const struct cli_option options[] = {
        {"init", NULL, "write a first configuration when there is none", &init, NULL},
    };
    int code;

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (argc)
        return cli_usage_error(c, "no arguments are taken");
    if (init && config)
        return cli_usage_error(c, "--init writes ./waymark.yaml; leave out --config");
    if (!config && access("./waymark.yaml", F_OK) != 0 && (init || cli_is_terminal(STDIN_FILENO)))
        if ((code = cli_write_first_configuration(".", NULL, NULL)) != EXIT_OK)
            return code;
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    code = run(conf);
    conf_free(conf);
    return code;
}
