/* waymark-profiler: reads the configuration, opens the event log, runs the profiler until a signal. On the embedded log
 * it is for looking at a stopped shop: one process holds that log. The main thread only waits. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/event_log.h"
#include "common/log.h"
#include "common/stats.h"
#include "profiler/profiler.h"

#define STOP_MS 60000

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static int usage(FILE *out)
{
    fputs("usage: waymark-profiler [--config FILE]\n\n"
          "Follows the event log, folds it into profiles and answers look-ups over HTTP.\n\n"
          "  --config FILE  configuration (default ./waymark.yaml)\n"
          "  --help         this text\n"
          "  --version\n",
          out);
    return out == stdout ? EXIT_OK : EXIT_USAGE;
}

/* A second signal means: now. The next start has more to replay, and that is all. */
static void give_up(int sig)
{
    (void)sig;
    _exit(EXIT_FAILED);
}

static int serve(const struct conf *conf, struct event_log *log, struct stats *stats, const sigset_t *signals)
{
    struct profiler *profiler;
    struct err e = {0};
    int r = profiler_start(conf, log, stats, &profiler, &e), sig;

    if (r != 0) {
        log_error("cannot start: %s", e.text[0] ? e.text : strerror(-r));
        return EXIT_FAILED;
    }
    sigwait(signals, &sig);
    log_info("stopping on signal %d", sig);
    signal(SIGTERM, give_up);
    signal(SIGINT, give_up);
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
    if (profiler_stop(profiler, STOP_MS) == 0)
        return EXIT_OK;
    log_error("not everything was folded before the stop; the next start goes on from there");
    return EXIT_FAILED;
}

static int run(const struct conf *conf)
{
    struct event_log *log = NULL;
    struct stats *stats = stats_new();
    struct err e = {0};
    sigset_t signals;
    char path[4096];
    int code = EXIT_FAILED;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before the first thread */
    signal(SIGPIPE, SIG_IGN);
    snprintf(path, sizeof path, "%s/log", conf->data);
    int r = event_log_open_local(&(struct event_log_options){.path = path,
                                                             .partitions = conf->partitions,
                                                             .retain_ms = conf->log.retain_ms,
                                                             .retain_bytes = conf->log.retain_bytes,
                                                             .reserve_bytes = conf->log.reserve_bytes},
                                 &log, &e);
    if (r != 0 || !stats)
        log_error("cannot open the event log: %s", e.text);
    else
        code = serve(conf, log, stats, &signals);
    event_log_close(log);
    stats_free(stats);
    return code;
}

int main(int argc, char **argv)
{
    const char *file = "./waymark.yaml";
    struct buf errors;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help"))
            return usage(stdout);
        if (!strcmp(argv[i], "--version")) {
            printf("waymark-profiler %s (%s)\n", WAYMARK_VERSION, WAYMARK_REVISION);
            return EXIT_OK;
        }
        if (strcmp(argv[i], "--config") != 0 || i + 1 == argc)
            return usage(stderr);
        file = argv[++i];
    }
    buf_init(&errors, 1 << 20);
    struct conf *conf = conf_load(file, &errors);
    if (!conf)
        fwrite(errors.p, 1, errors.n, stderr);
    buf_deinit(&errors);
    if (!conf)
        return EXIT_FAILED;
    int code = run(conf);
    conf_free(conf);
    return code;
}
