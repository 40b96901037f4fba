/* Arguments of the commands: options from a table, in any place. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "common/num.h"

static void print_command_help(const struct cli_command *c, const struct cli_option *options, size_t n)
{
    printf("usage: waymark %s%s%s [OPTIONS]\n\n%s\n", c->name, *c->arguments ? " " : "", c->arguments, c->summary);
    if (c->details)
        printf("\n%s\n", c->details);
    printf("\n  %-24s %s\n", "--config FILE", "configuration (default ./waymark.yaml)");
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
    const struct cli_option config_option = {"config", "FILE", "", NULL, config};
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
        const struct cli_option *o = str_is(name, "config") ? &config_option : find_option(options, n, name);
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
    return true;
}
