/* waymark check: the configuration, all mistakes at once. */
#include <stdio.h>

#include "cli/cli.h"
#include "common/tls.h"
#include "profiler/tags.h"

/* How many tokens its file adds; -1 after saying what is wrong with it. */
static long count_tokens(const struct conf_profiler *p)
{
    struct conf_tokens *t;
    struct buf errors;
    long n;

    if (!p->tokens_file)
        return 0;
    buf_init(&errors, 1 << 20);
    t = conf_tokens_load(p->tokens_file, p->tokens, p->token_count, &errors);
    if (!t)
        fwrite(errors.p, 1, errors.n, stderr);
    n = t ? (long)t->count : -1;
    conf_tokens_free(t);
    buf_deinit(&errors);
    return n;
}

/* How many tags there are; -1 after saying what is wrong with their file. Places that may not mean what was meant are
 * said too. */
static long count_tags(const struct conf *conf)
{
    struct tags *t = NULL;
    struct buf errors, warnings;

    buf_init(&errors, 1 << 20);
    buf_init(&warnings, 1 << 20);
    bool good = tags_load(conf->profiler.tags_file, conf->vocabulary, &t, &errors, &warnings) == 0;
    if (errors.n > 0)
        fwrite(errors.p, 1, errors.n, stderr);
    if (warnings.n > 0 && conf->profiler.tags_file)
        fwrite(warnings.p, 1, warnings.n, stderr);
    long n = good ? (long)tags_count(t) : -1;
    tags_unref(t);
    buf_deinit(&errors);
    buf_deinit(&warnings);
    return n;
}

/* What is wrong, and what soon will be, is said; false when a server would not start. */
static bool check_tls(const struct conf *conf)
{
    struct err e[2] = {0};
    struct buf warnings;

    buf_init(&warnings, 1 << 16);
    bool collector = tls_check(&conf->collector.tls, "collector.tls", &warnings, &e[0]) == 0;
    bool profiler = tls_check(&conf->profiler.tls, "profiler.tls", &warnings, &e[1]) == 0;
    if (warnings.n > 0)
        fwrite(warnings.p, 1, warnings.n, stderr);
    buf_deinit(&warnings);
    for (int i = 0; i < 2; i++)
        if (e[i].text[0])
            fprintf(stderr, "%s: %s\n", conf->file, e[i].text);
    return collector && profiler;
}

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
    long more = count_tokens(&conf->profiler);
    long tags = count_tags(conf);
    bool good = check_tls(conf) && more >= 0 && tags >= 0;
    if (good)
        printf("%s: good: %u partitions, %zu keys, %zu tokens, %ld tags, data in %s\n", conf->file, conf->partitions,
               conf->collector.key_count, conf->profiler.token_count + (size_t)more, tags, conf->data);
    conf_free(conf);
    return good ? EXIT_OK : EXIT_FAILED;
}
