/* What every program that runs until a signal does around its parts. The main thread calls these. */
#ifndef WAYMARK_PROCESS_H
#define WAYMARK_PROCESS_H

#include "common/conf.h"
#include "common/err.h"
#include "common/event_log.h"

enum { PROCESS_OK = 0, PROCESS_FAILED = 1, PROCESS_USAGE = 2 };

/* The whole main of a program that takes --config, --help and --version: reads the configuration, calls `run` with it
 * and returns the exit code. `about` is one sentence for --help. */
struct process_program {
    const char *name, *about;
    int (*run)(const struct conf *conf);
};
int process_main(const struct process_program *program, int argc, char **argv);

/* Before the first thread: SIGTERM, SIGINT and, without a terminal, SIGHUP reach process_wait only, SIGPIPE nobody, and
 * the memory of large requests goes back to the system when it is freed. */
void process_begin(void);
/* Waits for SIGTERM or SIGINT. From then on a second one ends the process at once: nothing acked is lost by it, the
 * next start only has more to replay. */
void process_wait(void);
/* The same, and calls `reload` for each SIGHUP; that signal ends a process whose standard input is a terminal. */
void process_wait_reloading(void (*reload)(void *arg), void *arg);
/* The embedded log of the data folder, which is made when missing. */
/* Or Kafka, if so configured, which may be away. */
int process_open_log(const struct conf *conf, struct event_log **out, struct err *e);
/* The spool of a collector before Kafka; NULL in `out` on the embedded log, which needs none. */
int process_open_spool(const struct conf *conf, struct event_log **out, struct err *e);
/* The name of this process among others: the configured one, else one that is made once and kept in the data folder. */
int process_instance(const struct conf *conf, char *out, size_t size, struct err *e);

#endif
