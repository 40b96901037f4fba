/* The frame of a program: signals as data, memory, the log in its folder. The main thread runs this. */
#include "common/process.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* On a terminal SIGHUP says that it was closed, and ends the process as ever; elsewhere it asks to read anew. */
static sigset_t waited_signals(void)
{
    sigset_t signals = stop_signals(), blocked;

    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    if (sigismember(&blocked, SIGHUP))
        sigaddset(&signals, SIGHUP);
    return signals;
}

void process_begin(void)
{
    sigset_t signals = stop_signals();

    if (!isatty(STDIN_FILENO))
        sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    mallopt(M_MMAP_THRESHOLD, (int)LARGE_MEMORY);
    mallopt(M_TRIM_THRESHOLD, (int)KEPT_MEMORY);
}

void process_wait_reloading(void (*reload)(void *arg), void *arg)
{
    sigset_t signals = waited_signals(), stopping = stop_signals();
    int number = 0;

    while (sigwait(&signals, &number) == 0 && number == SIGHUP) {
        log_info("signal %d: what can be read anew is", number);
        if (reload)
            reload(arg);
    }
    log_info("stopping on signal %d", number);
    pthread_sigmask(SIG_UNBLOCK, &stopping, NULL);
}

void process_wait(void)
{
    process_wait_reloading(NULL, NULL);
}

static int make_data(const struct conf *conf, struct err *e)
{
    if (mkdir(conf->data, 0700) == 0 || errno == EEXIST)
        return 0;
    int r = -errno;
    err_set(e, "cannot make the data folder %s: %s", conf->data, strerror(-r));
    return r;
}

static int data_path(const struct conf *conf, const char *name, char *out, size_t size, struct err *e)
{
    int r = make_data(conf, e);

    if (r == 0 && (size_t)snprintf(out, size, "%s/%s", conf->data, name) >= size) {
        err_set(e, "the name %s is too long", conf->data);
        r = -ENAMETOOLONG;
    }
    return r;
}

/* --- the name of the process --- */

static int read_name(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, out, size - 1);
    int r = n > 0 ? 0 : n == 0 ? -ENOENT : -errno;
    close(fd);
    out[n > 0 ? n : 0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return r;
}

static void invent_name(char *out, size_t size)
{
    char host[32] = "";
    unsigned char random[4];

    gethostname(host, sizeof host - 1);
    host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] = '\0';
    randombytes_buf(random, sizeof random);
    snprintf(out, size, "%s%s%02x%02x%02x%02x", host, host[0] ? "-" : "", random[0], random[1], random[2], random[3]);
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd >= 0 && fsync(fd) == 0 ? 0 : -errno;

    if (fd >= 0)
        close(fd);
    return r;
}

/* On disk before anybody hears it: another name after a crash would be another member of the group. A collector and a
 * profiler of one folder may start at once: the name of the first stands. */
static int make_name(const char *folder, const char *path, char *out, size_t size, struct err *e)
{
    char beside[4200];

    invent_name(out, size);
    snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid());
    FILE *f = fopen(beside, "we");
    int r = f && fprintf(f, "%s\n", out) > 0 && fflush(f) == 0 && fsync(fileno(f)) == 0 ? 0 : -errno;
    if (f)
        fclose(f);
    if (r == 0 && link(beside, path) != 0)
        r = errno == EEXIST ? read_name(path, out, size) : -errno;
    unlink(beside);
    if (r == 0)
        r = sync_folder(folder);
    if (r != 0)
        err_set(e, "cannot write %s: %s", path, strerror(-r));
    return r;
}

int process_instance(const struct conf *conf, char *out, size_t size, struct err *e)
{
    char path[4096];

    if (conf->instance) {
        snprintf(out, size, "%s", conf->instance);
        return 0;
    }
    int r = data_path(conf, "instance", path, sizeof path, e);
    if (r != 0)
        return r;
    r = read_name(path, out, size);
    return r == -ENOENT ? make_name(conf->data, path, out, size, e) : r;
}

/* --- logs --- */

static int open_local(const struct conf *conf, struct event_log **out, struct err *e)
{
    char path[4096];
    int r = data_path(conf, "log", path, sizeof path, e);
    const struct event_log_options o = {.path = path,
                                        .partitions = conf->partitions,
                                        .retain_ms = conf->log.retain_ms,
                                        .retain_bytes = conf->log.retain_bytes,
                                        .reserve_bytes = conf->log.reserve_bytes};

    return r == 0 ? event_log_open_local(&o, out, e) : r;
}

static int open_kafka(const struct conf *conf, struct event_log **out, struct err *e)
{
    char instance[128];
    int r = process_instance(conf, instance, sizeof instance, e);
    const struct event_log_kafka_options o = {.properties = conf->kafka_properties,
                                              .property_count = conf->kafka_property_count,
                                              .prefix = conf->topic_prefix,
                                              .partitions = conf->partitions,
                                              .instance = instance};

    return r == 0 ? event_log_open_kafka(&o, out, e) : r;
}

int process_open_log(const struct conf *conf, struct event_log **out, struct err *e)
{
    return conf->kafka ? open_kafka(conf, out, e) : open_local(conf, out, e);
}

/* What is forwarded is dropped at once. */
int process_open_spool(const struct conf *conf, struct event_log **out, struct err *e)
{
    char path[4096];
    struct event_log_options o = {.path = path,
                                  .partitions = 1,
                                  .retain_ms = 1,
                                  .limit_bytes = conf->collector.spool_bytes,
                                  .reserve_bytes = conf->log.reserve_bytes};

    *out = NULL;
    if (!conf->kafka)
        return 0;
    int r = data_path(conf, "spool", path, sizeof path, e);
    if (r == 0)
        r = event_log_open_local(&o, out, e);
    if (r != 0)
        err_prefix(e, "the spool");
    return r;
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
