/* waymark-profiler: the profiler alone on the embedded log, which one process holds: for looking at a stopped shop. It
 * only wires: build, wait for a signal, tear down in reverse. The main thread runs this; all others are of the parts.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/event_log.h"
#include "common/process.h"
#include "common/stats.h"
#include "profiler/profiler.h"

#define STOP_MS 60000

struct parts {
    struct event_log *log;
    struct stats *stats;
    struct profiler *profiler;
};

static int start(const struct conf *conf, struct parts *p, struct err *e)
{
    int r = process_open_log(conf, &p->log, e);

    if (r == 0 && !(p->stats = stats_new()))
        r = -ENOMEM;
    return r == 0 ? profiler_start(conf, p->log, p->stats, &p->profiler, e) : r;
}

/* Returns 0 when everything that the log holds is folded and on disk. */
static int stop(struct parts *p)
{
    int r = profiler_stop(p->profiler, STOP_MS);

    event_log_close(p->log);
    stats_free(p->stats);
    return r;
}

static void reload(void *arg)
{
    profiler_reload(arg);
}

static int run(const struct conf *conf)
{
    struct parts p = {0};
    struct err e = {0};

    process_begin();
    int r = start(conf, &p, &e);
    if (r == 0)
        process_wait_reloading(reload, p.profiler);
    else
        fprintf(stderr, "waymark-profiler: cannot start: %s\n", e.text[0] ? e.text : strerror(-r));
    if (stop(&p) != 0 && r == 0) {
        fputs("waymark-profiler: not everything was folded before the stop; the next start goes on from there\n",
              stderr);
        r = -ETIMEDOUT;
    }
    return r == 0 ? PROCESS_OK : PROCESS_FAILED;
}

int main(int argc, char **argv)
{
    static const struct process_program program = {
        "waymark-profiler", "Follows the event log, folds it into profiles and answers look-ups over HTTP.", run};

    return process_main(&program, argc, argv);
}
