/* waymark-collector: the collector alone, on Kafka or on the embedded log. It only wires: parse, build, wait for a
 * signal, tear down in reverse. The main thread runs this; all others are of the parts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/collector.h"
#include "common/event_log.h"
#include "common/process.h"
#include "common/stats.h"

#define STOP_MS 5000

struct parts {
    struct event_log *log, *spool; /* spool NULL: the log needs none */
    struct stats *stats;
    struct collector *collector;
};

static int start(const struct conf *conf, struct parts *p, struct err *e)
{
    int r = process_open_log(conf, &p->log, e);

    if (r == 0)
        r = process_open_spool(conf, &p->spool, e);
    if (r == 0 && !(p->stats = stats_new()))
        r = -ENOMEM;
    return r == 0 ? collector_start(conf, p->log, p->spool, p->stats, &p->collector, e) : r;
}

static void stop(struct parts *p)
{
    collector_stop(p->collector, STOP_MS);
    event_log_close(p->log);
    event_log_close(p->spool);
    stats_free(p->stats);
}

static int run(const struct conf *conf)
{
    struct parts p = {0};
    struct err e = {0};

    process_begin();
    int r = start(conf, &p, &e);
    if (r == 0)
        process_wait();
    else
        fprintf(stderr, "waymark-collector: cannot start: %s\n", e.text[0] ? e.text : strerror(-r));
    stop(&p);
    return r == 0 ? PROCESS_OK : PROCESS_FAILED;
}

int main(int argc, char **argv)
{
    static const struct process_program program = {"waymark-collector",
                                                   "Takes events over HTTP and puts them on the event log.", run};

    return process_main(&program, argc, argv);
}
