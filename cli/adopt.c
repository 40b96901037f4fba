/* waymark adopt: the state of a stopped instance goes on with a log that was lost and set up anew. First it looks at
 * every partition and says what will happen; nothing is changed before all of that is known and confirmed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/process.h"
#include "profiler/adopt.h"
#include "profiler/checkpoint.h"
#include "profiler/erasures.h"
#include "profiler/profiler_settings.h"

#define LOOK_MS 15000

struct adopting {
    const struct conf *conf;
    const uint32_t *chosen; /* NULL: all */
    size_t chosen_count;
    bool yes;
    struct state *state;
    struct event_log *log;
    struct log_reader *reader;
    struct adopt_place *places; /* by partition */
    uint32_t *partitions;       /* that are to be adopted */
    size_t count;
    struct erasures erasures; /* of everybody, whichever partitions are adopted */
};

/* --- what is there -------------------------------------------------------------------------------------------- */

static int open_all(struct adopting *a, const struct profiler_settings *settings)
{
    struct err e = {0};

    if (access(settings->path, F_OK) != 0)
        return cli_error("there is no state in %s", settings->path);
    int r = state_open(&settings->state, &a->state, &e);
    if (r == 0)
        r = process_open_log(a->conf, &a->log, &e);
    if (r == 0)
        r = log_reader_open(a->log, LOG_EVENTS, NULL, &a->reader, &e);
    return r == 0 ? EXIT_OK : cli_error("%s", e.text[0] ? e.text : strerror(-r));
}

static void close_all(struct adopting *a)
{
    erasures_free(&a->erasures);
    log_reader_close(a->reader);
    event_log_close(a->log);
    state_close(a->state);
}

static const char *fit_text(enum adopt_fit fit)
{
    switch (fit) {
    case ADOPT_FITS:
        return "it goes on there by itself";
    case ADOPT_EMPTY:
        return "there is no state of it, and nothing to adopt";
    case ADOPT_REPLACED:
        return "another record stands where it folded the last one";
    case ADOPT_BEHIND:
        return "what comes next is not there any more";
    case ADOPT_BEYOND:
        return "that does not reach its place";
    }
    return "";
}

static bool to_adopt(const struct adopt_place *p)
{
    return p->fit != ADOPT_FITS && p->fit != ADOPT_EMPTY;
}

static int look(struct adopting *a, uint32_t partition)
{
    struct adopt_place *p = &a->places[partition];
    struct err e = {0};

    if (adopt_look(a->state, a->log, a->reader, partition, LOOK_MS, p, &e) != 0)
        return cli_error("%s; nothing was changed", e.text);
    printf("partition %u: the state stands at offset %" PRId64 ", the log holds %" PRId64 " up to %" PRId64 ": %s\n",
           (unsigned)partition, p->offset, p->begin, p->end, fit_text(p->fit));
    if (to_adopt(p))
        a->partitions[a->count++] = partition;
    return EXIT_OK;
}

/* --- what speaks against it ----------------------------------------------------------------------------------- */

/* Several instances may have had a partition; of the states only the newest may go on. */
static int check_backups(const struct adopting *a, uint32_t partition)
{
    struct checkpoint_log log = checkpoint_log_of(a->conf);
    struct state_figures f;
    char path[COPY_PATH_BYTES];
    struct err e = {0};
    int64_t offset;

    if (!a->conf->profiler.backups)
        return EXIT_OK;
    state_figures(a->state, partition, &f);
    int r = checkpoint_newest(a->conf->profiler.backups, &log, partition, path, sizeof path, &offset, &e);
    if (r < 0)
        return cli_error("%s", e.text[0] ? e.text : strerror(-r));
    if (r == CHECKPOINT_NONE || offset <= f.offset)
        return EXIT_OK;
    return cli_error("partition %u: the backup %s has more of it than this state; take it first, with `waymark restore "
                     "%s --partition %u`; nothing was changed",
                     (unsigned)partition, path, path, (unsigned)partition);
}

static int check(const struct adopting *a)
{
    int code = EXIT_OK;

    for (size_t i = 0; i < a->chosen_count; i++)
        if (!to_adopt(&a->places[a->chosen[i]]))
            return cli_error("partition %u is not adopted: %s; nothing was changed", (unsigned)a->chosen[i],
                             fit_text(a->places[a->chosen[i]].fit));
    if (a->count == 0)
        return cli_error("no partition has to be adopted; nothing was changed");
    for (size_t i = 0; i < a->count && code == EXIT_OK; i++)
        code = check_backups(a, a->partitions[i]);
    return code;
}

/* The log that there is lacks the commands by which people were erased; the audit log has them, on its topic, and as
 * far as its files go back also where that is lost. */
static int find_erasures(struct adopting *a)
{
    struct err e = {0};

    if (erasures_of_log(a->log, LOOK_MS, &a->erasures, &e) != 0 ||
        erasures_of_files(a->conf->data, &a->erasures, &e) != 0)
        return cli_error("which people were erased is not known: %s; nothing was changed", e.text);
    erasures_sort(&a->erasures);
    return EXIT_OK;
}

static void explain(const struct adopting *a)
{
    printf(
        "\nTo adopt: %zu of %u partitions. Their profiles stay as they are. Folding goes on with the first record\n"
        "that the log holds. What stood on the lost log and was not folded is gone, unless it waits in the spool of\n"
        "a collector. Events that come again are known by their ids.\n",
        a->count, (unsigned)a->conf->partitions);
    if (a->erasures.n > 0)
        printf(
            "The audit log knows %zu erasures: they are put on the log again, so that whoever was erased stays so.\n",
            a->erasures.n);
    if (event_log_shared(a->log))
        printf(
            "Of several profilers only the one that had a partition last may adopt it; the others take its backup.\n");
    fflush(stdout);
}

static int confirm(const struct adopting *a)
{
    char answer[16] = "";

    if (a->yes)
        return EXIT_OK;
    if (!cli_is_terminal(STDIN_FILENO))
        return cli_error("nothing was changed: say --yes to go on");
    printf("Go on? Type yes: ");
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) && strcmp(answer, "yes\n") == 0)
        return EXIT_OK;
    return cli_error("nothing was changed");
}

/* --- doing it ------------------------------------------------------------------------------------------------- */

/* Before anything is adopted: once that is so, the command is refused, and would not put them there. */
static int erase_again(const struct adopting *a)
{
    size_t n, beyond;
    struct err e = {0};

    if (erasures_append(&a->erasures, a->log, &n, &beyond, &e) != 0)
        return cli_error("%s; nothing was adopted", e.text);
    if (n > 0)
        printf("%zu erasures are on the log again\n", n);
    if (beyond > 0)
        fprintf(stderr, "waymark: %zu erasures are of partitions that there are not\n", beyond);
    return EXIT_OK;
}

static int adopt(const struct adopting *a)
{
    struct err e = {0};

    for (size_t i = 0; i < a->count; i++) {
        uint32_t partition = a->partitions[i];
        int64_t begin = a->places[partition].begin;

        if (state_adopt(a->state, partition, begin, &e) != 0)
            return cli_error("partition %u is not adopted, those before it are: %s", (unsigned)partition, e.text);
        printf("partition %u goes on with record %" PRId64 "\n", (unsigned)partition, begin);
    }
    return EXIT_OK;
}

static int look_at_all(struct adopting *a)
{
    size_t n = a->chosen ? a->chosen_count : a->conf->partitions;
    int code = EXIT_OK;

    for (size_t i = 0; i < n && code == EXIT_OK; i++)
        code = look(a, a->chosen ? a->chosen[i] : (uint32_t)i);
    fflush(stdout);
    return code;
}

static int run(struct adopting *a)
{
    struct profiler_settings settings;
    struct err e = {0};

    a->places = calloc(a->conf->partitions, sizeof *a->places);
    a->partitions = calloc(a->conf->partitions, sizeof *a->partitions);
    if (!a->places || !a->partitions)
        return cli_error("out of memory");
    if (profiler_settings_init(&settings, a->conf, &e) != 0)
        return cli_error("%s", e.text);
    int code = open_all(a, &settings);
    if (code == EXIT_OK)
        code = look_at_all(a);
    if (code == EXIT_OK)
        code = check(a);
    if (code == EXIT_OK)
        code = find_erasures(a);
    if (code == EXIT_OK) {
        explain(a);
        code = confirm(a);
    }
    if (code == EXIT_OK)
        code = erase_again(a);
    if (code == EXIT_OK)
        code = adopt(a);
    close_all(a);
    profiler_settings_deinit(&settings);
    return code;
}

int cli_adopt(const struct cli_command *c, int argc, char **argv)
{
    struct adopting a = {0};
    const char *config, *partitions = NULL;
    uint32_t *chosen = NULL;
    int code;
    const struct cli_option options[] = {
        {"partition", "N,...", "only these partitions", NULL, &partitions},
        {"yes", NULL, "do not ask", &a.yes, NULL},
    };

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    if (argc)
        return cli_usage_error(c, "no arguments are taken");
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    a.conf = conf;
    code = cli_partitions(c, partitions, conf->partitions, &chosen, &a.chosen_count);
    a.chosen = chosen;
    if (code == EXIT_OK)
        code = run(&a);
    free(chosen);
    free(a.places);
    free(a.partitions);
    conf_free(conf);
    return code;
}
