/* waymark restore: a backup back into the state of a stopped instance. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/backups.h"
#include "cli/cli.h"
#include "common/clock.h"
#include "common/process.h"
#include "profiler/erasures.h"
#include "profiler/profiler_settings.h"
#include "profiler/restore.h"

#define LOOK_MS 5000 /* for the log to answer */

/* --- a backup that is named ----------------------------------------------------------------------------------- */

int cli_backup_open(const struct conf *conf, const char *name, unsigned rounds, struct cli_backup *out)
{
    char manifest[COPY_PATH_BYTES];
    struct err e = {0};

    *out = (struct cli_backup){0};
    if (snprintf(out->path, sizeof out->path, "%s", name) >= (int)sizeof out->path)
        return cli_error("the path is too long");
    if (snprintf(manifest, sizeof manifest, "%s/%s", name, MANIFEST_NAME) < (int)sizeof manifest &&
        access(manifest, F_OK) != 0 && name[0] != '/')
        snprintf(out->path, sizeof out->path, "%s/%s", conf->profiler.backups, name);
    if (access(out->path, F_OK) != 0)
        return cli_error("there is no backup %s, here or in %s", name, conf->profiler.backups);
    if (manifest_read(out->path, &out->manifest, &e) < 0)
        return cli_error("%s is no backup that can be used: %s", out->path, e.text);
    out->to_do = rounds * manifest_bytes(out->manifest);
    cli_progress_begin(&out->progress, "bytes");
    return EXIT_OK;
}

void cli_backup_close(struct cli_backup *b)
{
    manifest_free(b->manifest);
}

static bool show_more(void *arg, uint64_t bytes)
{
    struct cli_backup *b = arg;

    b->done += bytes;
    cli_progress_show(&b->progress, b->done < b->to_do ? b->done : b->to_do, b->to_do, b->done, false);
    return true;
}

struct copy_progress cli_backup_progress(struct cli_backup *b)
{
    return (struct copy_progress){show_more, b};
}

void cli_backup_progress_end(const struct cli_backup *b)
{
    if (b->progress.drawn && cli_is_terminal(STDERR_FILENO))
        fputc('\n', stderr);
}

/* --- restoring ------------------------------------------------------------------------------------------------ */

struct restoring {
    const struct conf *conf;
    struct cli_backup backup;
    uint32_t *partitions;
    size_t partition_count;
    struct event_log *log; /* the embedded one, opened when it is asked; NULL: not looked at */
    bool log_tried;
    bool too_old; /* the log does not reach back to it */
};

static void say(void *arg, const char *line)
{
    (void)arg;
    printf("%s\n", line);
}

/* An embedded one only if it is there; without it the restore goes on as well. */
static void open_log(struct restoring *r)
{
    char path[COPY_PATH_BYTES];
    struct err e = {0};

    if (r->log_tried)
        return;
    r->log_tried = true;
    if (!r->conf->kafka &&
        (snprintf(path, sizeof path, "%s/log", r->conf->data) >= (int)sizeof path || access(path, F_OK) != 0))
        return;
    if (process_open_log(r->conf, &r->log, &e) != 0)
        fprintf(stderr, "waymark: whether the log reaches back is not known: %s\n", e.text);
}

/* Whether it can catch up from there. */
static void compare_with_log(void *arg, uint32_t partition, int64_t offset)
{
    struct restoring *r = arg;

    open_log(r);
    if (!r->log || r->conf->kafka) /* the start will tell */
        return;
    int64_t begin = event_log_begin(r->log, LOG_EVENTS, partition), end = event_log_end(r->log, LOG_EVENTS, partition);
    r->too_old = r->too_old || offset < begin || offset > end;
    if (offset < begin)
        fprintf(stderr,
                "waymark: partition %u cannot catch up from there: the log begins at %" PRId64
                ", what came before is gone\n",
                (unsigned)partition, begin);
    else if (offset > end)
        fprintf(stderr, "waymark: partition %u is not of this log, which ends at %" PRId64 "\n", (unsigned)partition,
                end);
    else
        printf("partition %u has %" PRId64 " records of the log to catch up with\n", (unsigned)partition, end - offset);
}

/* --- who was erased since ------------------------------------------------------------------------------------- */

static size_t count_after(const struct erasures *v, int64_t time)
{
    size_t n = 0;

    for (size_t i = 0; i < v->n; i++)
        n += v->v[i].time > time;
    return n;
}

/* The commands stand on the log, behind the place of the backup. Only told: it is the start that applies them. */
static void tell_erasures(struct restoring *r)
{
    struct erasures known = {0};
    struct err e = {0};

    open_log(r);
    int rc = erasures_of_files(r->conf->data, &known, &e);
    if (rc == 0 && r->log)
        rc = erasures_of_log(r->log, LOOK_MS, &known, &e);
    erasures_sort(&known);
    size_t n = count_after(&known, r->backup.manifest->made_at);
    if (rc != 0)
        fprintf(stderr, "waymark: whether somebody was erased since the backup is not known: %s\n", e.text);
    if (n > 0 && r->too_old)
        fprintf(stderr,
                "waymark: %zu erasures came after the backup; `waymark adopt` puts them on the log that there is, and "
                "until then nothing is shown\n",
                n);
    else if (n > 0)
        printf("%zu erasures came after the backup; the next start applies them before it shows anything\n", n);
    erasures_free(&known);
}

/* The offsets of a backup are those of its log. */
static int check_log(const struct restoring *r)
{
    const struct manifest *m = r->backup.manifest;
    const char *ours = r->conf->kafka ? "kafka" : "embedded";

    if (strcmp(m->event_log, ours) != 0)
        return cli_error("the backup was made on the event log %s, the configuration says %s", m->event_log, ours);
    if (r->conf->kafka && strcmp(m->topic_prefix, r->conf->topic_prefix) != 0)
        return cli_error("the backup was made on topics %s..., the configuration says %s...", m->topic_prefix,
                         r->conf->topic_prefix);
    return EXIT_OK;
}

static int run(struct restoring *r, const struct state_options *state)
{
    struct restore_options o = {.state = state,
                                .backup = r->backup.path,
                                .manifest = r->backup.manifest,
                                .partitions = r->partitions,
                                .partition_count = r->partition_count,
                                .reserve_bytes = r->conf->log.reserve_bytes,
                                .progress = cli_backup_progress(&r->backup),
                                .say = say,
                                .stands = compare_with_log,
                                .arg = r};
    struct err e = {0};

    int rc = restore_run(&o, &e);
    cli_backup_progress_end(&r->backup);
    if (rc == 0)
        tell_erasures(r);
    event_log_close(r->log);
    if (rc != 0)
        return cli_error("%s: %s", r->partition_count ? "the restore failed" : "nothing was restored",
                         e.text[0] ? e.text : strerror(-rc));
    printf("the next start folds what came after\n");
    return EXIT_OK;
}

static int restore(struct restoring *r)
{
    struct profiler_settings settings;
    struct err e = {0};
    int code = check_log(r);

    if (code != EXIT_OK)
        return code;
    if (profiler_settings_init(&settings, r->conf, &e) != 0)
        return cli_error("%s", e.text);
    code = run(r, &settings.state);
    profiler_settings_deinit(&settings);
    return code;
}

int cli_restore(const struct cli_command *c, int argc, char **argv)
{
    struct restoring r = {0};
    const char *config, *partitions = NULL;
    int code;
    const struct cli_option options[] = {
        {"partition", "N,...", "replace only these partitions of the state that is there", NULL, &partitions},
    };

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (argc != 1)
        return cli_usage_error(c, "needs one backup: its folder, or its name in `waymark backup --list`");
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    r.conf = conf;
    code = cli_partitions(c, partitions, conf->partitions, &r.partitions, &r.partition_count);
    if (code == EXIT_OK)
        code = cli_backup_open(conf, argv[0], 2, &r.backup);
    if (code == EXIT_OK)
        code = restore(&r);
    cli_backup_close(&r.backup);
    free(r.partitions);
    conf_free(conf);
    return code;
}
