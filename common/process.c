/* The frame of a program: signals as data, memory, the log in its folder. The main thread runs this. */
#include "common/process.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/limits.h"
#include "common/log.h"

/* Bodies and the trees of their JSON are larger, and would stay with the heap of the thread that had them. Naming any
 * of malloc's bounds ends its own way of moving them, so the other is named too. */
#define LARGE_MEMORY (4 * MIB)
#define KEPT_MEMORY (16 * MIB)

static sigset_t stop_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return signals;
}

void process_begin(void)
{
    sigset_t signals = stop_signals();

    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MMAP_THRESHOLD, (int)LARGE_MEMORY);
    mallopt(M_TRIM_THRESHOLD, (int)KEPT_MEMORY);
}

void process_wait(void)
{
    sigset_t signals = stop_signals();
    int number;

    sigwait(&signals, &number);
    log_info("stopping on signal %d", number);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

int process_open_log(const struct conf *conf, struct event_log **out, struct err *e)
{
    char path[4096];

    if (mkdir(conf->data, 0700) != 0 && errno != EEXIST) {
        int r = -errno;
        err_set(e, "cannot make the data folder %s: %s", conf->data, strerror(-r));
        return r;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/log", conf->data) >= sizeof path) {
        err_set(e, "the name %s is too long", conf->data);
        return -ENAMETOOLONG;
    }
    const struct event_log_options o = {.path = path,
                                        .partitions = conf->partitions,
                                        .retain_ms = conf->log.retain_ms,
                                        .retain_bytes = conf->log.retain_bytes,
                                        .reserve_bytes = conf->log.reserve_bytes};
    return event_log_open_local(&o, out, e);
}
