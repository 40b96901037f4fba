/* waymark audit: the files of the audit log, oldest first, as lines for people or as they stand there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/clock.h"
#include "common/limits.h"
#include "profiler/audit_file.h"
#include "profiler/audit_key.h"
#include "profiler/audit_line.h"

#define TARGETS_SHOWN 3
#define LINE_BYTES (2 * LIMIT_AUDIT_LINE)

struct show {
    int64_t since; /* INT64_MIN: all */
    const char *who;
    bool json, by_target;
    unsigned char target[AUDIT_HASH_BYTES];
    struct json_parser *parser;
    struct arena arena;
    uint64_t last, shown, bad; /* number of the record before; 0: none */
};

static bool has_target(const struct show *s, const struct audit_record *r)
{
    for (size_t i = 0; i < r->target_count; i++)
        if (memcmp(r->targets[i], s->target, AUDIT_HASH_BYTES) == 0)
            return true;
    return false;
}

static bool is_wanted(const struct show *s, const struct audit_record *r)
{
    return r->time >= s->since && (!s->who || str_is(r->who, s->who)) && (!s->by_target || has_target(s, r));
}

static void write_targets(struct buf *b, const struct audit_record *r)
{
    for (size_t i = 0; i < r->target_count && i < TARGETS_SHOWN; i++) {
        buf_add_text(b, i ? "," : "  of ");
        for (size_t k = 0; k < AUDIT_TARGET_BYTES; k++)
            buf_addf(b, "%02x", r->targets[i][k]);
    }
    if (r->target_count > TARGETS_SHOWN)
        buf_addf(b, " and %zu more", r->target_count - TARGETS_SHOWN);
}

static void show_record(const struct audit_record *r)
{
    struct buf b;

    buf_init(&b, LIMIT_AUDIT_LINE);
    time_write(&b, r->time);
    buf_addf(&b, "  %-8s  %.*s from %.*s  %.*s %.*s  %u  count %" PRIu64, audit_kind_name(r->kind), STR_ARG(r->who),
             STR_ARG(r->from), STR_ARG(r->method), STR_ARG(r->route), r->status, r->count);
    write_targets(&b, r);
    if (r->forwarded)
        buf_add_text(&b, "  (sent on by another instance)");
    show_text(buf_str(&b));
    putchar('\n');
    buf_deinit(&b);
}

/* Numbers go up by one: what lacks was taken away. */
static void check_number(struct show *s, uint64_t number)
{
    if (s->last && number != s->last + 1)
        fprintf(stderr, "waymark audit: records %" PRIu64 " to %" PRIu64 " are missing\n", s->last + 1, number - 1);
    s->last = number;
}

/* `line` has JSON_PADDING behind it. */
static void take_line(struct show *s, char *line, size_t n)
{
    struct audit_record r;
    struct buf copy;

    buf_init(&copy, LINE_BYTES);
    buf_add(&copy, line, n); /* reading may change it */
    arena_reset(&s->arena);
    if (!audit_line_read(s->parser, line, n, &s->arena, &r)) {
        s->bad++;
    } else {
        check_number(s, r.number);
        if (is_wanted(s, &r)) {
            s->shown++;
            if (s->json)
                printf("%.*s\n", STR_ARG(buf_str(&copy)));
            else
                show_record(&r);
        }
    }
    buf_deinit(&copy);
}

/* A last line without its end is being written. */
static void read_lines(struct show *s, FILE *f)
{
    char *line = malloc(LINE_BYTES + JSON_PADDING);

    if (!line)
        return;
    while (fgets(line, LINE_BYTES, f)) {
        size_t n = strlen(line);
        if (n == 0 || line[n - 1] != '\n') {
            s->bad += !feof(f);
            continue;
        }
        memset(line + n, 0, JSON_PADDING);
        take_line(s, line, n - 1);
    }
    free(line);
}

static bool same_file(FILE *a, FILE *b)
{
    struct stat x, y;

    return fstat(fileno(a), &x) == 0 && fstat(fileno(b), &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/* The growing file is opened first: if it is closed meanwhile, it stands among the others, and is read there. */
static int read_all(struct show *s, const char *folder)
{
    char path[4200];
    uint64_t *numbers;
    struct err e = {0};
    FILE *now = audit_file_path(folder, 0, path, sizeof path) ? fopen(path, "re") : NULL;
    int n = audit_file_list(folder, &numbers, &e);

    if (n < 0) {
        if (now)
            fclose(now);
        return cli_error("%s", e.text);
    }
    for (int i = 0; i < n; i++) {
        FILE *f = audit_file_path(folder, numbers[i], path, sizeof path) ? fopen(path, "re") : NULL;
        if (!f) /* dropped meanwhile */
            continue;
        read_lines(s, f);
        if (now && same_file(f, now)) {
            fclose(now);
            now = NULL;
        }
        fclose(f);
    }
    free(numbers);
    if (!now && n == 0)
        return cli_error("there is no audit log in %s", folder);
    if (now) {
        read_lines(s, now);
        fclose(now);
    }
    return EXIT_OK;
}

/* A time, or how long ago. */
static bool read_since(const char *text, int64_t *out)
{
    int64_t ms;

    *out = INT64_MIN;
    if (!text)
        return true;
    if (time_parse(str_of(text), out) == 0)
        return true;
    if (time_parse_duration(str_of(text), &ms) != 0)
        return false;
    *out = clock_now() - ms;
    return true;
}

static int show_all(struct show *s, const char *folder, const char *profile)
{
    unsigned char key[AUDIT_KEY_BYTES];
    struct err e = {0};

    if (profile) {
        if (audit_key_load(folder, false, key, &e) != 0)
            return cli_error("%s", e.text);
        audit_hash(key, str_of(profile), s->target);
        s->by_target = true;
    }
    s->parser = json_parser_new();
    if (!s->parser)
        return cli_error("out of memory");
    arena_init(&s->arena, MIB);
    int code = read_all(s, folder);
    arena_deinit(&s->arena);
    json_parser_free(s->parser);
    if (s->bad)
        fprintf(stderr, "waymark audit: %" PRIu64 " lines are no records\n", s->bad);
    return code;
}

int cli_audit(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *since = NULL, *profile = NULL;
    struct show s = {0};
    const struct cli_option options[] = {
        {"since", "TIME", "not before, as 2026-01-31T10:00:00Z, or how long ago, as 24h", NULL, &since},
        {"who", "NAME", "only of the token of that name", NULL, &s.who},
        {"profile", "ID", "only about that profile or order; user:..., anon:... or order:...", NULL, &profile},
        {"json", NULL, "one JSON object a line", &s.json, NULL},
    };
    int code;

    if (!cli_args(c, options, 4, &argc, argv, &config, &code))
        return code;
    if (argc)
        return cli_usage_error(c, "no arguments are taken");
    if (!read_since(since, &s.since))
        return cli_usage_error(c, "--since: needs a time such as 2026-01-31T10:00:00Z, or how long ago, as 24h");
    struct conf *conf = cli_conf(config);
    code = conf ? show_all(&s, conf->data, profile) : EXIT_FAILED;
    conf_free(conf);
    return code;
}
