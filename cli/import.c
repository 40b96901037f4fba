/* waymark import: files through the collector, so that what is imported takes the same way as what is tracked. Message
 * ids come from the file, or from a row's content and place, so sending it again changes nothing; a cut-off import
 * therefore starts over at the last acked event. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "cli/cli.h"
#include "cli/groups.h"
#include "cli/import_report.h"
#include "cli/mapping.h"
#include "cli/rows.h"
#include "common/limits.h"

#define BATCH_EVENTS 200
#define BATCH_BYTES (1u << 20)

struct import {
    const struct conf *conf;
    const struct mapping *map; /* NULL: NDJSON lines go as they are */
    const char *route, *file;
    struct rows *rows;
    struct groups *groups;
    struct client *client;
    struct client_answer answer;
    struct json_parser *parser;
    struct buf batch;
    uint64_t batch_rows[BATCH_EVENTS]; /* first row of each event in the batch */
    size_t batch_n;
    struct client_patience patience;
    uint64_t made, resume_at; /* events made of rows; those acked by an earlier run */
    struct import_report report;
    struct cli_progress progress;
};

/* Sends until the collector has answered it for good. */
static int send_batch(struct import *im)
{
    if (client_post(im->client, im->route, buf_str(&im->batch), &im->patience, &im->answer))
        return EXIT_OK;
    struct str problem = client_problem(im->parser, &im->answer);
    if (im->patience.failing_since)
        return cli_error("%.*s; start the same import again later and it goes on here", STR_ARG(problem));
    return cli_error("the collector refused a request with %ld: %.*s", im->answer.status, STR_ARG(problem));
}

static int flush_batch(struct import *im)
{
    if (!im->batch_n)
        return EXIT_OK;
    buf_add_char(&im->batch, ']');
    if (im->batch.failed)
        return cli_error("out of memory");
    int code = send_batch(im);
    const struct json *root = code == EXIT_OK ? client_json(im->parser, &im->answer) : NULL;
    const struct json *rejected = json_get(root, "rejected"), *accepted = json_get(root, "accepted");
    if (code == EXIT_OK && (!rejected || !accepted))
        return cli_error("the collector's answer cannot be read");
    for (const struct json *x = rejected ? rejected->child : NULL; x; x = x->next) {
        uint64_t index = strtoull(json_get(x, "index") ? json_get(x, "index")->text.p : "0", NULL, 10);
        const struct json *reason = json_get(x, "code"), *message = json_get(x, "message");
        import_report_skip(&im->report, index < im->batch_n ? im->batch_rows[index] : 0, true,
                           reason ? reason->text : STR_LIT("refused"), message ? message->text : STR_LIT(""));
    }
    if (code == EXIT_OK) {
        im->report.accepted += im->batch_n - rejected->count;
        im->report.acked = im->made;
        import_report_save(&im->report, false);
    }
    im->batch_n = 0;
    buf_reset(&im->batch);
    return code;
}

/* Takes one finished event. */
static int add_event(struct import *im, struct str json, const struct mapping_event *event, uint64_t row)
{
    if (im->made++ < im->resume_at)
        return EXIT_OK;
    buf_add_char(&im->batch, im->batch_n ? ',' : '[');
    if (event)
        mapping_finish(event, &im->batch);
    else
        buf_add_str(&im->batch, json);
    im->batch_rows[im->batch_n++] = row;
    return im->batch_n == BATCH_EVENTS || im->batch.n >= BATCH_BYTES ? flush_batch(im) : EXIT_OK;
}

static int close_groups(struct import *im, uint64_t before)
{
    struct group *g;
    int code = EXIT_OK;

    while (code == EXIT_OK && (g = groups_take(im->groups, before))) {
        if (g->event.shape != MAPPING_NONE)
            code = add_event(im, STR_NONE, &g->event, g->first_row);
        group_free(g);
    }
    return code;
}

static void skip(struct import *im, const char *why)
{
    import_report_skip(&im->report, rows_number(im->rows), false, str_of(why), STR_LIT(""));
}

static int take_grouped(struct import *im, struct str key)
{
    bool fresh, closed;
    uint64_t row = rows_number(im->rows);
    struct group *g = groups_get(im->groups, key, &fresh, &closed);

    if (!g && !closed)
        return cli_error("out of memory");
    if (!g) {
        skip(im, "row_after_its_group");
        return EXIT_OK;
    }
    if (fresh)
        g->first_row = row;
    g->last_row = row;
    const char *why = mapping_add(im->map, im->rows, &g->event);
    if (why)
        skip(im, why);
    uint64_t window = mapping_window(im->map);
    return row > window ? close_groups(im, row - window) : EXIT_OK;
}

/* A line without a message id gets one of its content and place, or sending it again would count it again. An order log
 * is known by its content anyway. */
static int add_line(struct import *im, struct str line)
{
    uint64_t row = rows_number(im->rows);
    bool known = str_has(rows_value(im->rows, STR_LIT("messageId"))) ||
                 str_has(rows_value(im->rows, STR_LIT("message_id"))) || strcmp(im->route, "/v1/orders") == 0;
    struct buf b;

    if (known || line.n < 3 || line.p[0] != '{' || !memchr(line.p, ':', line.n))
        return add_event(im, line, NULL, row);
    buf_init(&b, line.n + 128);
    buf_addf(&b, "{\"messageId\":\"import-%016" PRIx64 "-%" PRIu64 "\",", (uint64_t)XXH64(line.p, line.n, 0), row);
    buf_add(&b, line.p + 1, line.n - 1);
    int code = b.failed ? cli_error("out of memory") : add_event(im, buf_str(&b), NULL, row);
    buf_deinit(&b);
    return code;
}

/* A line that is an event already. What the collector would refuse alone might make it refuse the whole request. */
static int take_line(struct import *im)
{
    struct str line = rows_line(im->rows);

    if (line.n <= LIMIT_EVENT_BYTES && rows_height(im->rows) <= LIMIT_EVENT_DEPTH)
        return add_line(im, line);
    skip(im, line.n <= LIMIT_EVENT_BYTES ? "too_deep" : "too_large");
    return EXIT_OK;
}

static int take_row(struct import *im)
{
    if (!im->map)
        return take_line(im);
    struct str group = mapping_group(im->map);
    if (str_has(group)) {
        struct str key = rows_value(im->rows, group);
        if (str_has(key))
            return take_grouped(im, key);
        skip(im, "group_missing");
        return EXIT_OK;
    }
    struct mapping_event e;
    mapping_event_init(&e);
    const char *why = mapping_add(im->map, im->rows, &e);
    int code = EXIT_OK;
    if (why)
        skip(im, why);
    else
        code = add_event(im, STR_NONE, &e, rows_number(im->rows));
    mapping_event_deinit(&e);
    return code;
}

static int import_rows(struct import *im)
{
    const char *why;
    int kind, code = EXIT_OK;

    cli_progress_begin(&im->progress, "events");
    while (code == EXIT_OK && (kind = rows_next(im->rows, &why)) != ROWS_END) {
        if (kind == ROWS_BAD)
            skip(im, why);
        else
            code = take_row(im);
        im->report.rows = rows_number(im->rows);
        cli_progress_show(&im->progress, rows_offset(im->rows), rows_size(im->rows), im->made, false);
    }
    if (code == EXIT_OK && rows_broken(im->rows))
        code = cli_error("%s cannot be read to its end", im->file);
    if (code == EXIT_OK)
        code = close_groups(im, UINT64_MAX);
    if (code == EXIT_OK)
        code = flush_batch(im);
    cli_progress_show(&im->progress, rows_offset(im->rows), rows_size(im->rows), im->made, true);
    im->report.events = im->made;
    im->report.complete = code == EXIT_OK;
    import_report_save(&im->report, true);
    return code;
}

static int import_file(struct import *im, const char *file, bool again, const char *skipped)
{
    uint64_t mapping = im->map ? mapping_hash(im->map) : XXH64(im->route, strlen(im->route), 1);

    im->file = file;
    im->made = im->batch_n = 0;
    buf_reset(&im->batch);
    im->rows = rows_open(file, !im->map || mapping_ndjson(im->map), im->map ? mapping_delimiter(im->map) : ',');
    if (!im->rows || (im->map && !mapping_fits(im->map, im->rows)))
        return EXIT_FAILED;
    if (!import_report_open(&im->report, im->conf->data, file, mapping, skipped))
        return EXIT_FAILED;
    if (again)
        import_report_forget(&im->report);
    if (im->report.complete) {
        fprintf(stderr, "%s was imported whole before; --again sends it once more (which changes nothing)\n", file);
        import_report_print(&im->report);
        return EXIT_OK;
    }
    im->resume_at = im->report.acked;
    if (im->resume_at)
        fprintf(stderr, "%s: going on after %" PRIu64 " events\n", file, im->resume_at);
    im->groups = groups_new();
    int code = im->groups ? import_rows(im) : cli_error("out of memory");
    import_report_print(&im->report);
    return code;
}

static void close_file(struct import *im)
{
    import_report_close(&im->report);
    groups_free(im->groups);
    rows_close(im->rows);
    im->groups = NULL;
    im->rows = NULL;
}

static bool connect_collector(struct import *im)
{
    char *key = cli_secret(im->conf, "server_key"), *basic = key ? client_basic(key) : NULL;

    im->client = basic ? client_new(im->conf->collector.listen, &im->conf->collector.tls, basic) : NULL;
    im->parser = json_parser_new();
    buf_init(&im->batch, 2 * BATCH_BYTES + (4u << 20));
    free(key);
    free(basic);
    return im->client && im->parser;
}

static bool is_csv(const char *file)
{
    size_t n = strlen(file);

    return n >= 4 && !strcasecmp(file + n - 4, ".csv");
}

int cli_import(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *map = NULL, *to = NULL, *skipped = NULL, *patience = NULL;
    uint64_t seconds;
    bool again = false;
    const struct cli_option options[] = {
        {"map", "FILE", "mapping from rows to events; needed for CSV", NULL, &map},
        {"to", "ROUTE", "/v1/batch (default) or /v1/orders: NDJSON lines that are events already", NULL, &to},
        {"skipped", "FILE", "write each skipped row with its reason there", NULL, &skipped},
        {"again", NULL, "forget earlier progress and send everything", &again, NULL},
        {"patience", "S", "seconds for which an outage is waited out (default 60)", NULL, &patience},
    };
    struct import im = {0};
    struct mapping *mapping = NULL;
    int code;

    if (!cli_args(c, options, 5, &argc, argv, &config, &code))
        return code;
    if (!argc)
        return cli_usage_error(c, "a file is needed");
    if (to && (map || (strcmp(to, "/v1/batch") != 0 && strcmp(to, "/v1/orders") != 0)))
        return cli_usage_error(c, map ? "--to stands in the mapping" : "--to is /v1/batch or /v1/orders");
    if (!cli_number(c, "patience", patience, 60, 0, 86400, &seconds))
        return EXIT_USAGE;
    for (int i = 0; i < argc; i++)
        if (!map && is_csv(argv[i]))
            return cli_usage_error(c, "%s needs --map: what its columns mean", argv[i]);
    im.patience.limit_ms = (int64_t)seconds * 1000;
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    code = EXIT_FAILED;
    im.conf = conf;
    if (!map || (im.map = mapping = mapping_load(map))) {
        im.route = map ? mapping_route(mapping) : to ? to : "/v1/batch";
        if (connect_collector(&im))
            code = EXIT_OK;
    }
    for (int i = 0; i < argc && code == EXIT_OK; i++) {
        code = import_file(&im, argv[i], again, skipped);
        close_file(&im);
    }
    client_answer_free(&im.answer);
    buf_deinit(&im.batch);
    json_parser_free(im.parser);
    client_free(im.client);
    mapping_free(mapping);
    conf_free(conf);
    return code;
}
