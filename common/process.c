/* The frame of a program: signals as data, memory, the log in its folder. The main thread runs this. */
#include "common/process.h"

#include <errno.h>
#include <getopt.h>
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

/* Returns false when the program ends here, with its exit code. */
static bool parse_arguments(const struct process_program *program, int argc, char **argv, const char **config,
                            int *code)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
    int option;

    *code = PROCESS_OK;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            *config = optarg;
            break;
        case 'h':
            printf("usage: %s [--config FILE]\n\n%s\n\n"
                   "  --config FILE   configuration (default ./waymark.yaml)\n"
                   "  --help          this text\n"
                   "  --version       the version\n",
                   program->name, program->about);
            return false;
        case 'v':
            printf("%s %s (%s)\n", program->name, WAYMARK_VERSION, WAYMARK_REVISION);
            return false;
        default:
            *code = PROCESS_USAGE;
            return false;
        }
    }
    if (optind == argc)
        return true;
    fprintf(stderr, "%s: no arguments are taken, there is '%s'\n", program->name, argv[optind]);
    *code = PROCESS_USAGE;
    return false;
}

int process_main(const struct process_program *program, int argc, char **argv)
{
    const char *config = "./waymark.yaml";
    struct buf errors;
    int code;

    if (!parse_arguments(program, argc, argv, &config, &code))
        return code;
    buf_init(&errors, 1 * MIB);
    struct conf *conf = conf_load(config, &errors);
    if (!conf)
        fwrite(errors.p, 1, errors.n, stderr);
    buf_deinit(&errors);
    code = conf ? program->run(conf) : PROCESS_FAILED;
    conf_free(conf);
    return code;
}
