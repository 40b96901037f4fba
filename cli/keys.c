/* waymark keys init|list|rotate: the keys that seal personal values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "common/seal.h"

static int keys_init(const struct conf *conf)
{
    struct err e = {0};
    bool made;

    if (seal_keys_init(conf->keys, &made, &e) != 0)
        return cli_error("%s", e.text);
    fprintf(stderr, made ? "made keys in %s; keep a copy of it apart from the data\n" : "the keys in %s are complete\n",
            conf->keys);
    return EXIT_OK;
}

static int keys_list(const struct conf *conf)
{
    struct seal_key_info *info = malloc(SEAL_FILES * SEAL_KEYS_MAX * sizeof *info);
    struct err e = {0};
    size_t n = 0;

    if (!info || seal_keys_list(conf->keys, info, SEAL_FILES * SEAL_KEYS_MAX, &n, &e) != 0) {
        free(info);
        return cli_error("%s", e.text[0] ? e.text : "out of memory");
    }
    for (size_t i = 0; i < n; i++)
        printf("%-12s  %s%s\n", info[i].file, info[i].id, info[i].newest ? "  newest" : "");
    free(info);
    return n > 0 ? EXIT_OK : cli_error("there are no keys in %s; `waymark keys init` makes them", conf->keys);
}

static int rotate_one(const struct conf *conf, enum seal_file file, const char *name)
{
    struct err e = {0};
    char id[17];

    if (seal_keys_rotate(conf->keys, file, id, &e) != 0)
        return cli_error("%s", e.text);
    printf("%-12s  %s  newest\n", name, id);
    return EXIT_OK;
}

/* Without an option both are rotated. */
static int keys_rotate(const struct conf *conf, bool profiler, bool master)
{
    int code = EXIT_OK;

    if (profiler || !master)
        code = rotate_one(conf, SEAL_FILE_PROFILER, "profiler.key");
    if (code == EXIT_OK && (master || !profiler))
        code = rotate_one(conf, SEAL_FILE_MASTER, "master.key");
    if (code == EXIT_OK)
        fprintf(stderr, "the older keys still open; copy %s to the other machines, the profilers first\n", conf->keys);
    return code;
}

int cli_keys(const struct cli_command *c, int argc, char **argv)
{
    const char *config;
    bool profiler = false, master = false;
    const struct cli_option options[] = {
        {"profiler", NULL, "rotate only the key to which collectors seal", &profiler, NULL},
        {"master", NULL, "rotate only the key that wraps those of persons", &master, NULL},
    };
    int code;

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    const char *what = argc == 1 ? argv[0] : "";
    bool rotate = !strcmp(what, "rotate");
    if (!rotate && strcmp(what, "init") != 0 && strcmp(what, "list") != 0)
        return cli_usage_error(c, "one of init, list and rotate");
    if (!rotate && (profiler || master))
        return cli_usage_error(c, "--profiler and --master go with rotate");
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    code = rotate ? keys_rotate(conf, profiler, master) : !strcmp(what, "init") ? keys_init(conf) : keys_list(conf);
    conf_free(conf);
    return code;
}
