/* waymark check: the configuration, all mistakes at once. */
#include <stdio.h>

#include "cli/cli.h"

int cli_check(const struct cli_command *c, int argc, char **argv)
{
    const char *config;
    int code;

    if (!cli_args(c, NULL, 0, &argc, argv, &config, &code))
        return code;
    if (argc)
        return cli_usage_error(c, "no arguments are taken");
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    printf("%s: good: %u partitions, %zu keys, %zu tokens, data in %s\n", conf->file, conf->partitions,
           conf->collector.key_count, conf->profiler.token_count, conf->data);
    conf_free(conf);
    return EXIT_OK;
}
