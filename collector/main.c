/* waymark-collector: the collector alone on the embedded log. It only wires: parse, build, wait for a signal, tear down
 * in reverse. The main thread runs this; all others are of the parts. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "collector/collector.h"
#include "common/conf.h"
#include "common/event_log.h"
#include "common/limits.h"
#include "common/process.h"
#include "common/stats.h"

#define STOP_MS 5000

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct parts {
    struct event_log *log;
    struct stats *stats;
    struct collector *collector;
};

/* Returns false when the program ends here, with its exit code. */
static bool parse_arguments(int argc, char **argv, const char **config, int *code)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
    int option;

    *code = EXIT_OK;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            *config = optarg;
            break;
        case 'h':
            printf("usage: waymark-collector [--config FILE]\n\n"
                   "Takes events over HTTP and puts them on the event log.\n\n"
                   "  --config FILE   configuration (default ./waymark.yaml)\n"
                   "  --help          this text\n"
                   "  --version       the version\n");
            return false;
        case 'v':
            printf("waymark-collector %s (%s)\n", WAYMARK_VERSION, WAYMARK_REVISION);
            return false;
        default:
            *code = EXIT_USAGE;
            return false;
        }
    }
    if (optind == argc)
        return true;
    fprintf(stderr, "waymark-collector: no arguments are taken, there is '%s'\n", argv[optind]);
    *code = EXIT_USAGE;
    return false;
}

static struct conf *load(const char *file)
{
    struct buf errors;

    buf_init(&errors, 1 * MIB);
    struct conf *conf = conf_load(file, &errors);
    if (!conf)
        fwrite(errors.p, 1, errors.n, stderr);
    buf_deinit(&errors);
    return conf;
}

static int start(const struct conf *conf, struct parts *p, struct err *e)
{
    int r = process_open_log(conf, &p->log, e);

    if (r == 0 && !(p->stats = stats_new()))
        r = -ENOMEM;
    return r == 0 ? collector_start(conf, p->log, p->stats, &p->collector, e) : r;
}

static void stop(struct parts *p)
{
    collector_stop(p->collector, STOP_MS);
    event_log_close(p->log);
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
    return r == 0 ? EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    const char *config = "./waymark.yaml";
    int code;

    if (!parse_arguments(argc, argv, &config, &code))
        return code;
    struct conf *conf = load(config);
    if (!conf)
        return EXIT_FAILED;
    code = run(conf);
    conf_free(conf);
    return code;
}
