/* waymark token: makes a token, prints it once, and what is kept of it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/limits.h"

#define FILE_BYTES (1 * MIB)

/* --- the line ------------------------------------------------------------------------------------------------- */

static bool good_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

    return n > 0 && n <= LIMIT_TOKEN_NAME && name[n] == '\0';
}

/* "lookup,pii" as the bits of enum conf_scope; 0 after saying what is wrong. */
static unsigned read_scopes(const struct cli_command *c, const char *text)
{
    unsigned scopes = 0;

    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        unsigned i = 0;
        while (conf_scope_name(i) && !str_is((struct str){p, n}, conf_scope_name(i)))
            i++;
        if (!conf_scope_name(i)) {
            cli_usage_error(c, "--scopes: '%.*s' is none of lookup, pii, audience, export, admin", (int)n, p);
            return 0;
        }
        scopes |= 1u << i;
        p += n + (p[n] == ',');
    }
    if (scopes == 0)
        cli_usage_error(c, "--scopes names what the token may do: lookup, pii, audience, export, admin");
    return scopes;
}

static void write_line(struct buf *b, const char *name, const char *secret, unsigned scopes)
{
    char hash[65];
    bool first = true;

    cli_sha256_hex(secret, hash);
    buf_addf(b, "- {name: %s, sha256: %s, scopes: [", name, hash);
    for (unsigned i = 0; conf_scope_name(i); i++) {
        if (!(scopes >> i & 1))
            continue;
        buf_addf(b, "%s%s", first ? "" : ", ", conf_scope_name(i));
        first = false;
    }
    buf_add_text(b, "]}\n");
}

/* --- the file ------------------------------------------------------------------------------------------------- */

/* What the file holds; nothing when it is missing, which is no mistake. An empty list in brackets counts as nothing. */
static int read_old(const char *file, struct buf *out, mode_t *mode)
{
    char block[4096];
    struct stat st;
    ssize_t n = 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    *mode = 0600;
    if (fd < 0)
        return errno == ENOENT ? EXIT_OK : cli_error("cannot read %s: %s", file, strerror(errno));
    if (fstat(fd, &st) == 0)
        *mode = st.st_mode & 0777;
    while ((n = read(fd, block, sizeof block)) > 0 && buf_add(out, block, (size_t)n))
        ;
    close(fd);
    if (n < 0 || out->failed)
        return cli_error("cannot read %s: %s", file, n < 0 ? strerror(errno) : "it is too large");
    struct str text = buf_str(out);
    while (text.n > 0 && strchr(" \t\r\n", text.p[text.n - 1]))
        text.n--;
    if (str_is(text, "[]"))
        buf_reset(out);
    else if (out->n > 0 && out->p[out->n - 1] != '\n')
        buf_add_char(out, '\n');
    return EXIT_OK;
}

static int check_new(const char *file, struct str text, const struct conf *conf)
{
    const struct conf_profiler *p = conf ? &conf->profiler : NULL;
    struct buf errors;

    buf_init(&errors, FILE_BYTES);
    struct conf_tokens *t = conf_tokens_parse(file, text, p ? p->tokens : NULL, p ? p->token_count : 0, &errors);
    if (!t)
        fwrite(errors.p, 1, errors.n, stderr);
    buf_deinit(&errors);
    bool good = t != NULL;
    conf_tokens_free(t);
    return good ? EXIT_OK : cli_error("nothing was written");
}

/* Beside it, synced, and then in its place: whoever reads it sees the old or the new one. */
static int replace(const char *file, struct str text, mode_t mode, int folder)
{
    char beside[PATH_MAX];

    if ((size_t)snprintf(beside, sizeof beside, "%s.%d", file, (int)getpid()) >= sizeof beside)
        return cli_error("the name %s is too long", file);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = fd >= 0 && fchmod(fd, mode) == 0 && write(fd, text.p, text.n) == (ssize_t)text.n && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (good && rename(beside, file) == 0 && fsync(folder) == 0)
        return EXIT_OK;
    why = good ? errno : why;
    if (fd >= 0)
        unlink(beside);
    return cli_error("cannot write %s: %s", file, strerror(why));
}

/* Two that add at once do so one after the other: the folder is locked. */
static int lock_folder(const char *file, int *out)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(file, '/');

    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");
    *out = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out >= 0 && flock(*out, LOCK_EX) == 0)
        return EXIT_OK;
    return cli_error("cannot lock the folder %s: %s", folder, strerror(errno));
}

static int add_to_file(const char *file, struct str line, const struct conf *conf)
{
    struct buf text;
    mode_t mode;
    int folder = -1, code = lock_folder(file, &folder);

    buf_init(&text, FILE_BYTES);
    if (code == EXIT_OK)
        code = read_old(file, &text, &mode);
    if (code == EXIT_OK && !buf_add_str(&text, line))
        code = cli_error("%s is too large", file);
    if (code == EXIT_OK)
        code = check_new(file, buf_str(&text), conf);
    if (code == EXIT_OK)
        code = replace(file, buf_str(&text), mode, folder);
    if (folder >= 0)
        close(folder);
    buf_deinit(&text);
    return code;
}

/* --- the command ---------------------------------------------------------------------------------------------- */

static int make(const char *name, unsigned scopes, const char *file, const struct conf *conf)
{
    char secret[64];
    struct buf line;

    buf_init(&line, KIB);
    cli_fresh_secret("tk", secret);
    write_line(&line, name, secret, scopes);
    int code = file ? add_to_file(file, buf_str(&line), conf) : check_new("the line", buf_str(&line), conf);
    if (code == EXIT_OK)
        printf("%s\n%.*s", secret, STR_ARG(buf_str(&line)));
    if (code == EXIT_OK && file)
        fprintf(stderr, "the line was added to %s\n", file);
    sodium_memzero(secret, sizeof secret);
    buf_deinit(&line);
    return code;
}

int cli_token(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *scopes = "", *file = NULL;
    const struct cli_option options[] = {
        {"scopes", "LIST", "what it may do: lookup,pii,audience,export,admin", NULL, &scopes},
        {"file", "FILE", "adds the line to this file", NULL, &file},
    };
    struct conf *conf = NULL;
    unsigned bits;
    int code;

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    if (argc != 1 || !good_name(argv[0]))
        return cli_usage_error(c, "exactly one NAME is needed, of up to %d letters, digits, - _ and .",
                               LIMIT_TOKEN_NAME);
    if ((bits = read_scopes(c, scopes)) == 0)
        return EXIT_USAGE;
    if (sodium_init() < 0)
        return cli_error("no randomness for a fresh token");
    /* Names and tokens are unique over the configuration and its file. */
    if (config && !(conf = cli_conf(config)))
        return EXIT_FAILED;
    code = make(argv[0], bits, file, conf);
    conf_free(conf);
    return code;
}
