/* waymark init: a first configuration with fresh keys, and the secrets beside it. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

/* A prefix that says what it is, and 160 random bits. */
static void fresh_secret(const char *prefix, char out[64])
{
    unsigned char random[20];
    char hex[41];

    randombytes_buf(random, sizeof random);
    sodium_bin2hex(hex, sizeof hex, random, sizeof random);
    snprintf(out, 64, "%s_%s", prefix, hex);
}

static void sha256_hex(const char *text, char out[65])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2hex(out, 65, hash, sizeof hash);
}

/* Writes a file that must not be there yet. */
static int write_new(const char *path, mode_t mode, struct str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return cli_error("cannot write %s: %s", path, strerror(errno));
    ssize_t n = write(fd, text.p, text.n);
    int failed = n != (ssize_t)text.n || fsync(fd) != 0;
    if (close(fd) != 0 || failed)
        return cli_error("cannot write %s: %s", path, strerror(errno));
    return EXIT_OK;
}

int cli_write_first_configuration(const char *folder, const char *currency, const char *timezone)
{
    char file[4096], secrets_file[4096], beacon[64], server[64], token[64], server_hash[65], token_hash[65];
    struct buf text;

    if (sodium_init() < 0)
        return cli_error("no randomness for fresh keys");
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return cli_error("cannot make %s: %s", folder, strerror(errno));
    snprintf(file, sizeof file, "%s/waymark.yaml", folder);
    snprintf(secrets_file, sizeof secrets_file, "%s/waymark.secrets", folder);
    if (access(file, F_OK) == 0 || access(secrets_file, F_OK) == 0)
        return cli_error("%s has a configuration already; nothing was changed", folder);

    fresh_secret("wk", beacon);
    fresh_secret("sk", server);
    fresh_secret("tk", token);
    sha256_hex(server, server_hash);
    sha256_hex(token, token_hash);
    buf_init(&text, 1 << 20);
    buf_addf(&text,
             "# Secrets of waymark.yaml beside this file, for the commands. Keep them out of version control.\n"
             "server_key: %s\ntoken: %s\n",
             server, token);
    int code = write_new(secrets_file, 0600, buf_str(&text));
    buf_reset(&text);
    conf_write_sample(&text, &(struct conf_sample){currency, timezone, beacon, server_hash, token_hash});
    if (code == EXIT_OK && text.failed)
        code = cli_error("out of memory");
    if (code == EXIT_OK)
        code = write_new(file, 0666, buf_str(&text));
    buf_deinit(&text);
    if (code == EXIT_OK)
        fprintf(stderr, "wrote %s (your settings) and %s (the secret keys, mode 0600)\n", file, secrets_file);
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
    if (argc > 1)
        return cli_usage_error(c, "one folder at most");
    const char *folder = argc ? argv[0] : ".";
    if ((code = cli_write_first_configuration(folder, currency, timezone)) != EXIT_OK)
        return code;

    /* A currency or zone that does not exist is better refused now than at the first start. */
    char file[4096], secrets[4096];
    struct buf errors;
    snprintf(file, sizeof file, "%s/waymark.yaml", folder);
    snprintf(secrets, sizeof secrets, "%s/waymark.secrets", folder);
    buf_init(&errors, 1 << 16);
    struct conf *conf = conf_load(file, &errors);
    if (!conf) {
        fwrite(errors.p, 1, errors.n, stderr);
        unlink(file);
        unlink(secrets);
        code = cli_error("nothing was kept");
    } else {
        fprintf(stderr, "next: waymark serve --config %s\n", file);
    }
    conf_free(conf);
    buf_deinit(&errors);
    return code;
}
