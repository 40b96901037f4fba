/* waymark verify: the whole state of a stopped instance, or of a backup, against its own events. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/backups.h"
#include "cli/cli.h"
#include "profiler/profiler_settings.h"

static void say_difference(void *arg, const char *line)
{
    (void)arg;
    printf("%s\n", line);
}

static void show_share(void *arg, double share)
{
    cli_progress_show(arg, (uint64_t)(share * 1e6), 1000000, (uint64_t)(share * 100), false);
}

static int verify_state(const struct profiler_settings *settings)
{
    struct state_options o = settings->state;
    struct verify_report report = {0};
    struct cli_progress progress;
    struct state *state = NULL;
    struct err e = {0};

    o.read_only = true;
    int r = state_open(&o, &state, &e);
    cli_progress_begin(&progress, "percent");
    if (r == 0)
        r = state_verify(state, say_difference, show_share, &progress, &report, &e);
    state_close(state);
    if (progress.drawn)
        fputc('\n', stderr);
    if (r != 0)
        return cli_error("the state cannot be verified: %s", e.text[0] ? e.text : strerror(-r));
    printf("%" PRIu64 " profiles, %" PRIu64 " events, %" PRIu64 " orders, %" PRIu64 " streams: %" PRIu64
           " differences\n",
           report.profiles, report.events, report.orders, report.streams, report.differences);
    return report.differences ? EXIT_FAILED : EXIT_OK;
}

/* The copy in a backup instead of the state. */
static int choose_backup(const struct conf *conf, const char *name, struct profiler_settings *settings)
{
    struct cli_backup b;
    struct err e = {0};
    int code = cli_backup_open(conf, name, 1, &b);

    if (code == EXIT_OK && copy_path(settings->path, b.path, MANIFEST_STATE, &e) < 0)
        code = cli_error("%s", e.text);
    cli_backup_close(&b);
    return code;
}

static int verify(const struct conf *conf, const char *backup)
{
    struct profiler_settings settings;
    struct err e = {0};
    int code = EXIT_OK;

    if (profiler_settings_init(&settings, conf, &e) != 0)
        return cli_error("%s", e.text);
    if (backup)
        code = choose_backup(conf, backup, &settings);
    else if (access(settings.path, F_OK) != 0)
        code = cli_error("there is no state in %s yet", settings.path);
    if (code == EXIT_OK)
        code = verify_state(&settings);
    profiler_settings_deinit(&settings);
    return code;
}

int cli_verify(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *backup = NULL;
    int code;
    const struct cli_option options[] = {
        {"backup", "DIR", "the copy in this backup instead, by its folder or its name", NULL, &backup},
    };

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (argc)
        return cli_usage_error(c, "no arguments are taken");
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    code = verify(conf, backup);
    conf_free(conf);
    return code;
}
