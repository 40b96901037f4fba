/* Arguments of the commands: options from a table, in any place. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/num.h"

static void print_command_help(const struct cli_command *c, const struct cli_option *options, size_t n)
{
    printf("usage: waymark %s%s%s [OPTIONS]\n\n%s\n", c->name, *c->arguments ? " " : "", c->arguments, c->summary);
    if (c->details)
        printf("\n%s\n", c->details);
    printf("\n  %-24s %s\n", "--config FILE", "configuration (default ./waymark.yaml)");
    printf("  %-24s %s\n", "--ca FILE",
           "who may have signed the server's certificate, when it is not the configured one");
    for (size_t i = 0; i < n; i++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", options[i].name, options[i].value ? " " : "",
                 options[i].value ? options[i].value : "");
        printf("  %-24s %s\n", left, options[i].help);
    }
    printf("  %-24s %s\n", "--help", "this text");
}

int cli_usage_error(const struct cli_command *c, const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "waymark %s: ", c->name);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\n'waymark %s --help' shows the options\n", c->name);
    return EXIT_USAGE;
}

int cli_error(const char *format, ...)
{
    va_list ap;

    fputs("waymark: ", stderr);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

bool cli_number(const struct cli_command *c, const char *option, const char *text, uint64_t otherwise, uint64_t min,
                uint64_t max, uint64_t *out)
{
    *out = otherwise;
    if (!text)
        return true;
    if (num_u64(str_of(text), out) == NUM_OK && *out >= min && *out <= max)
        return true;
    cli_usage_error(c, "--%s is a number from %" PRIu64 " to %" PRIu64, option, min, max);
    return false;
}

static bool read_partitions(const char *text, uint32_t count, uint32_t *out, size_t *n)
{
    struct str rest = str_of(text);

    for (*n = 0; rest.n > 0 && *n < count; (*n)++) {
        const char *comma = memchr(rest.p, ',', rest.n);
        struct str one = {rest.p, comma ? (size_t)(comma - rest.p) : rest.n};
        uint64_t v;

        if (num_u64(one, &v) != NUM_OK || v >= count)
            return false;
        for (size_t i = 0; i < *n; i++)
            if (out[i] == v)
                return false;
        out[*n] = (uint32_t)v;
        rest = comma ? (struct str){comma + 1, rest.n - one.n - 1} : STR_NONE;
        if (comma && rest.n == 0)
            return false;
    }
    return *n > 0 && rest.n == 0;
}

int cli_partitions(const struct cli_command *c, const char *text, uint32_t count, uint32_t **out, size_t *n)
{
    uint32_t *list;

    *out = NULL;
    *n = 0;
    if (!text)
        return EXIT_OK;
    list = calloc(count, sizeof *list);
    if (!list)
        return cli_error("out of memory");
    if (read_partitions(text, count, list, n)) {
        *out = list;
        return EXIT_OK;
    }
    free(list);
    *n = 0;
    return cli_usage_error(c, "--partition: needs numbers below %u such as 0,3, each once", (unsigned)count);
}

static const struct cli_option *find_option(const struct cli_option *options, size_t n, struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(name, options[i].name))
            return &options[i];
    return NULL;
}

bool cli_args(const struct cli_command *c, const struct cli_option *options, size_t n, int *argc, char **argv,
              const char **config, int *exit_code)
{
    const char *ca = NULL;
    const struct cli_option common[] = {{"config", "FILE", "", NULL, config}, {"ca", "FILE", "", NULL, &ca}};
    int kept = 0;

    *config = NULL;
    for (int i = 0; i < *argc; i++) {
        const char *arg = argv[i];
        if (strncmp(arg, "--", 2) != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        if (arg[2] == '\0') { /* what follows are arguments even if they begin with dashes */
            while (++i < *argc)
                argv[kept++] = argv[i];
            break;
        }
        if (!strcmp(arg, "--help")) {
            print_command_help(c, options, n);
            *exit_code = EXIT_OK;
            return false;
        }
        if (!strcmp(arg, "--version")) {
            printf("waymark %s (%s)\n", WAYMARK_VERSION, WAYMARK_REVISION);
            *exit_code = EXIT_OK;
            return false;
        }
        const char *equals = strchr(arg, '=');
        struct str name = {arg + 2, equals ? (size_t)(equals - arg - 2) : strlen(arg + 2)};
        const struct cli_option *o = find_option(common, 2, name);
        if (!o)
            o = find_option(options, n, name);
        if (!o || (!o->value && equals)) {
            *exit_code = cli_usage_error(c, "there is no option '%s'", arg);
            return false;
        }
        if (!o->value) {
            *o->flag = true;
        } else if (equals) {
            *o->text = equals + 1;
        } else if (i + 1 < *argc) {
            *o->text = argv[++i];
        } else {
            *exit_code = cli_usage_error(c, "%s needs a value (%s)", arg, o->value);
            return false;
        }
    }
    *argc = kept;
    if (ca && (access(ca, R_OK) != 0 || setenv("WAYMARK_CA", ca, 1) != 0)) {
        *exit_code = cli_error("--ca %s: %s", ca, strerror(errno));
        return false;
    }
    return true;
}
