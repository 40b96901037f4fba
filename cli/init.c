/* waymark init: a first configuration with fresh keys, and the secrets beside it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/seal.h"

#define TEXT_BYTES ((size_t)1 << 20)

/* Writes a file that must not be there yet. A part of it does not stay. */
static int write_new(const char *path, mode_t mode, struct str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return cli_error("cannot write %s: %s", path, strerror(errno));
    ssize_t n = write(fd, text.p, text.n);
    bool good = n == (ssize_t)text.n && fsync(fd) == 0;
    good = close(fd) == 0 && good;
    if (good)
        return EXIT_OK;
    cli_error("cannot write %s: %s", path, n >= 0 && n < (ssize_t)text.n ? "no room" : strerror(errno));
    unlink(path);
    return EXIT_FAILED;
}

/* The two texts. What the options asked for may be no currency or zone: better said now than at the first start. */
static int make_texts(const char *file, const char *currency, const char *timezone, struct buf *settings,
                      struct buf *secrets)
{
    char beacon[64], server[64], token[64], server_hash[65], token_hash[65];
    struct buf errors;

    cli_fresh_secret("wk", beacon);
    cli_fresh_secret("sk", server);
    cli_fresh_secret("tk", token);
    cli_sha256_hex(server, server_hash);
    cli_sha256_hex(token, token_hash);
    buf_addf(secrets,
             "# Secrets of waymark.yaml beside this file, for the commands. Keep them out of version control.\n"
             "server_key: %s\ntoken: %s\n",
             server, token);
    conf_write_sample(settings, &(struct conf_sample){currency, timezone, beacon, server_hash, token_hash});
    if (secrets->failed || settings->failed)
        return cli_error("out of memory");
    buf_init(&errors, TEXT_BYTES);
    struct conf *conf = conf_parse(file, buf_str(settings), &errors);
    if (!conf)
        fwrite(errors.p, 1, errors.n, stderr);
    buf_deinit(&errors);
    if (!conf)
        return cli_error("nothing was written");
    conf_free(conf);
    return EXIT_OK;
}

static int write_files(const char *file, const char *secrets_file, const char *currency, const char *timezone)
{
    struct buf settings, secrets;

    buf_init(&settings, TEXT_BYTES);
    buf_init(&secrets, TEXT_BYTES);
    int code = make_texts(file, currency, timezone, &settings, &secrets);
    if (code == EXIT_OK)
        code = write_new(secrets_file, 0600, buf_str(&secrets));
    if (code == EXIT_OK && (code = write_new(file, 0666, buf_str(&settings))) != EXIT_OK)
        unlink(secrets_file);
    buf_deinit(&settings);
    buf_deinit(&secrets);
    if (code == EXIT_OK)
        fprintf(stderr, "wrote %s (your settings) and %s (the secret keys, mode 0600)\n", file, secrets_file);
    return code;
}

/* The keys that seal personal values, in the data folder. */
static int make_keys(const char *file)
{
    struct conf *conf = cli_conf(file);
    struct err e = {0};
    bool made = false;
    int r = conf ? seal_keys_init(conf->keys, &made, &e) : -EINVAL;

    if (r == 0 && made)
        fprintf(stderr, "made the keys of personal values in %s: keep a copy of it apart from the data\n", conf->keys);
    conf_free(conf);
    return r == 0 ? EXIT_OK : cli_error("%s", e.text);
}

int cli_write_first_configuration(const char *folder, const char *currency, const char *timezone)
{
    char file[PATH_MAX], secrets_file[PATH_MAX];

    if (sodium_init() < 0)
        return cli_error("no randomness for fresh keys");
    if ((size_t)snprintf(file, sizeof file, "%s/waymark.yaml", folder) >= sizeof file ||
        (size_t)snprintf(secrets_file, sizeof secrets_file, "%s/waymark.secrets", folder) >= sizeof secrets_file)
        return cli_error("the folder's name is too long");
    bool made = mkdir(folder, 0777) == 0;
    if (!made && errno != EEXIST)
        return cli_error("cannot make %s: %s", folder, strerror(errno));
    if (access(file, F_OK) == 0 || access(secrets_file, F_OK) == 0)
        return cli_error("%s has a configuration already; nothing was changed", folder);
    int code = write_files(file, secrets_file, currency, timezone);
    if (code == EXIT_OK)
        return make_keys(file);
    if (code != EXIT_OK && made)
        rmdir(folder);
    return code;
}

int cli_init(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *currency = NULL, *timezone = NULL;
    const struct cli_option options[] = {
        {"currency", "C", "ISO code of the amounts in facts, as GBP", NULL, &currency},
        {"timezone", "Z", "of days, hours and weekdays, as Europe/London", NULL, &timezone},
    };
    int code;

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    if (argc > 1 || config)
        return cli_usage_error(c, config ? "a folder is named, not a file" : "one folder at most");
    const char *folder = argc ? argv[0] : ".";
    if ((code = cli_write_first_configuration(folder, currency, timezone)) == EXIT_OK)
        fprintf(stderr, "next: waymark serve --config %s/waymark.yaml\n", folder);
    return code;
}
