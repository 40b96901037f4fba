/* What the commands of `waymark` share: arguments, the configuration, the secrets beside it, the terminal, and an HTTP
 * client. Each command is one file with one entry function; main.c only chooses. One thread unless a file says so. */
#ifndef WAYMARK_CLI_H
#define WAYMARK_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/json.h"
#include "common/str.h"

/* Exit codes of every command. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NOT_FOUND = 4 };

/* --- arguments -------------------------------------------------------------------------------------------- */

/* One option of a command: --name or --name VALUE. Either `flag` or `text` is where it goes. */
struct cli_option {
    const char *name;
    const char *value; /* what it stands for in --help (FILE, N); NULL for a flag */
    const char *help;
    bool *flag;
    const char **text;
};

struct cli_command {
    const char *name;
    const char *arguments; /* "ID", "FILE..."; "" for none */
    const char *summary;   /* one line */
    const char *details;   /* more for --help, may be NULL */
    int (*run)(const struct cli_command *c, int argc, char **argv);
};

/* Reads options in any place; what is left are the arguments, argv[0..*argc). --config and --help are known to all.
 * Returns false when the command is over: *exit_code is then its code (0 after --help). */
bool cli_args(const struct cli_command *c, const struct cli_option *options, size_t n, int *argc, char **argv,
              const char **config, int *exit_code);
/* A number option: `otherwise` when it was not given. False after a usage error. */
bool cli_number(const struct cli_command *c, const char *option, const char *text, uint64_t otherwise, uint64_t min,
                uint64_t max, uint64_t *out);
/* The option --partition: "0,3,7", of `count` partitions, each once. `out` NULL and *n 0 when it was not given; else
 * the caller frees. An exit code; what is wrong was said. */
int cli_partitions(const struct cli_command *c, const char *text, uint32_t count, uint32_t **out, size_t *n);
/* "waymark NAME: text" on standard error, and how to get help. Returns EXIT_USAGE. */
int cli_usage_error(const struct cli_command *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "waymark: text" on standard error. Returns EXIT_FAILED. */
int cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- configuration ---------------------------------------------------------------------------------------- */

/* The file named, else ./waymark.yaml. Every mistake goes to standard error. NULL then. Free with conf_free. */
struct conf *cli_conf(const char *config);
/* The secret of that name (server_key, token): the environment's (WAYMARK_SERVER_KEY, WAYMARK_TOKEN), else
 * waymark.secrets beside the configuration. NULL when there is none, after saying so. The caller frees. */
char *cli_secret(const struct conf *conf, const char *name);
/* The first beacon key of the configuration, NULL when there is none. */
const char *cli_beacon_key(const struct conf *conf);

/* A secret that begins with "PREFIX_", and the hash of one in hex, which is what is kept. After sodium_init. */
void cli_fresh_secret(const char *prefix, char out[64]);
void cli_sha256_hex(const char *text, char out[65]);

/* --- terminal --------------------------------------------------------------------------------------------- */

bool cli_is_terminal(int fd);
/* Progress on standard error: a bar on a terminal, a line every ten seconds elsewhere. `done` of `total` in the unit of
 * the caller, `rate` counts in `what` a second. */
struct cli_progress {
    const char *what;
    int64_t started_ms, last_ms;
    bool drawn;
};
void cli_progress_begin(struct cli_progress *p, const char *what);
void cli_progress_show(struct cli_progress *p, uint64_t done, uint64_t total, uint64_t count, bool last);

/* --- HTTP client (libcurl) ------------------------------------------------------------------------------- */

struct client;
struct client_answer {
    long status;      /* 0: no answer; `error` then says why */
    const char *base; /* of the client that sent it */
    struct buf body;
    char position[512]; /* X-Waymark-Position */
    long retry_after;   /* seconds, 0 when not given */
    char error[256];
};

/* `listen` as in the configuration (a wildcard address becomes loopback). With `tls` it speaks https and takes only the
 * key of the configured certificate, whoever signed it and whatever names stand in it; where WAYMARK_CA (--ca) names a
 * file, or the certificate may not be read here, a certificate for the address by one of that file or of the system
 * instead. Both must live as long. `authorization` is a whole header value or NULL. One thread per client. */
struct client *client_new(const char *listen, const struct conf_tls *tls, const char *authorization);
void client_free(struct client *c);
/* Sends and waits at most `timeout_ms`. `out` must be zeroed or from a call before; client_answer_free in the end. */
void client_send(struct client *c, const char *method, const char *path, struct str body, long timeout_ms,
                 struct client_answer *out);
/* What went wrong, for people: why there is no answer, or its message. Lives until the next call with `a` or `p`. */
struct str client_problem(struct json_parser *p, struct client_answer *a);

/* A sender that does not give up at once: what it has waited for, and how often it asked. */
struct client_patience {
    int64_t limit_ms; /* how long an outage is waited out; afterwards each request is tried once until one is taken */
    int64_t failing_since; /* 0: the last request was taken */
    bool quiet;            /* says nothing when an outage begins */
    uint64_t requests, retries;
};
/* POSTs JSON, again and again while the collector is away or busy. Whether the answer is 200. */
bool client_post(struct client *c, const char *path, struct str body, struct client_patience *p,
                 struct client_answer *out);
/* Writes the body of a GET to `fd` from byte `from` on (by Range) and tells how far it is, `progress` may be NULL.
 * False when not all of it was written: `out` has what was answered instead, or why. */
bool client_fetch(struct client *c, const char *path, int fd, uint64_t from,
                  void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg, struct client_answer *out);
void client_answer_free(struct client_answer *a);
/* "Basic base64(key:)" and "Bearer token". The caller frees. */
char *client_basic(const char *key);
char *client_bearer(const char *token);
/* Parses an answer's body in place. NULL when it is no JSON. */
const struct json *client_json(struct json_parser *p, struct client_answer *a);

/* --- talking with the profiler ---------------------------------------------------------------------------- */

struct cli_talk {
    struct conf *conf;
    struct client *client;
    struct json_parser *parser;
    struct client_answer answer;
};
/* With the token that cli_secret finds. False when that cannot be, which was said. cli_talk_close in any case. */
bool cli_talk_open(struct cli_talk *t, const char *config);
void cli_talk_close(struct cli_talk *t);
/* EXIT_OK when the answer is 200, else as cli_talk_failed. */
int cli_talk_ask(struct cli_talk *t, const char *method, const char *path, struct str body);
/* Says what went wrong with the last question. EXIT_NOT_FOUND after a 404, else EXIT_FAILED. */
int cli_talk_failed(struct cli_talk *t);
/* The last answer, as it came or as `show` has it. An exit code. */
int cli_talk_show(struct cli_talk *t, bool json, void (*show)(const struct json *root));
/* A command that has one ID and --json, and shows GET /v1/WHAT/ID and the suffix. */
int cli_show_one(const struct cli_command *c, int argc, char **argv, const char *what, const char *suffix,
                 void (*show)(const struct json *root));

/* --- commands --------------------------------------------------------------------------------------------- */

int cli_traits(const struct cli_command *c, int argc, char **argv);
int cli_init(const struct cli_command *c, int argc, char **argv);
int cli_serve(const struct cli_command *c, int argc, char **argv);
int cli_check(const struct cli_command *c, int argc, char **argv);
int cli_import(const struct cli_command *c, int argc, char **argv);
int cli_profile(const struct cli_command *c, int argc, char **argv);
int cli_path(const struct cli_command *c, int argc, char **argv);
int cli_orders(const struct cli_command *c, int argc, char **argv);
int cli_scene(const struct cli_command *c, int argc, char **argv);
int cli_tail(const struct cli_command *c, int argc, char **argv);
int cli_simulate(const struct cli_command *c, int argc, char **argv);
int cli_verify(const struct cli_command *c, int argc, char **argv);
int cli_backup(const struct cli_command *c, int argc, char **argv);
int cli_restore(const struct cli_command *c, int argc, char **argv);
int cli_adopt(const struct cli_command *c, int argc, char **argv);
int cli_keys(const struct cli_command *c, int argc, char **argv);
int cli_topics(const struct cli_command *c, int argc, char **argv);
int cli_token(const struct cli_command *c, int argc, char **argv);
int cli_data(const struct cli_command *c, int argc, char **argv);
int cli_audit(const struct cli_command *c, int argc, char **argv);
int cli_identity(const struct cli_command *c, int argc, char **argv);
int cli_erase(const struct cli_command *c, int argc, char **argv);
int cli_receipt(const struct cli_command *c, int argc, char **argv);
int cli_unlink(const struct cli_command *c, int argc, char **argv);
int cli_audience(const struct cli_command *c, int argc, char **argv);
int cli_export(const struct cli_command *c, int argc, char **argv);
int cli_tag(const struct cli_command *c, int argc, char **argv);

/* Writes a first configuration with fresh keys into a folder (made when missing). EXIT_OK or EXIT_FAILED, also when one
 * is there. Shared by init and serve. */
int cli_write_first_configuration(const char *folder, const char *currency, const char *timezone);

#endif
