/* The configuration: one YAML file, read once into a const struct. Every option is one row of the table in
 * conf_table.c, from which come the parser, the range checks, the sample and the reference. Parts get their own
 * sub-struct. */
#ifndef WAYMARK_CONF_H
#define WAYMARK_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/str.h"

struct kafka_property; /* common/event_log.h */
struct vocabulary;     /* common/traits_vocabulary.h */

enum conf_key_kind { CONF_KEY_BEACON, CONF_KEY_SERVER };

struct conf_key {
    const char *name;
    const char *source;
    enum conf_key_kind kind;
    const char *key;          /* beacon: the key itself */
    unsigned char sha256[32]; /* of the key, both kinds */
    const char **origins;     /* beacon: allowed Origin headers; none: any */
    size_t origin_count;
};

/* Scopes of a token, a bit each. */
enum conf_scope { SCOPE_LOOKUP = 1, SCOPE_PII = 2, SCOPE_AUDIENCE = 4, SCOPE_EXPORT = 8, SCOPE_ADMIN = 16 };

struct conf_token {
    const char *name;
    unsigned char sha256[32];
    unsigned scopes;
};

/* Somebody who is told of changes of audiences. */
struct conf_webhook {
    const char *name;
    const char *url;          /* https, or http to this machine */
    const unsigned char *key; /* of the signature, decoded */
    size_t key_bytes;
    bool all;               /* of every audience */
    const char **audiences; /* else of these */
    size_t audience_count;
    const char **traits; /* that it is told */
    size_t trait_count;
    const char **tags;
    size_t tag_count;
    bool pii; /* personal traits too */
};

struct conf_blocked; /* a set of ids, in lower case */

struct conf_log {
    int64_t retain_ms;
    uint64_t retain_bytes;
    uint64_t reserve_bytes;
};

/* The cache that several profilers share. */
struct conf_redis {
    const char *url;                            /* redis://, rediss:// or unix://; NULL: there is none */
    const char *password_file;                  /* its first line is the password; NULL: what the url says */
    const char *ca_file, *cert_file, *key_file; /* of rediss; NULL: the system's, none, none */
    const char *prefix;                         /* of every key */
    int64_t ttl_ms;                             /* of copies; 0: for ever */
};

/* What is kept of a person's address. */
enum conf_ip { CONF_IP_TRUNCATED, CONF_IP_FULL, CONF_IP_NONE };

/* Of a server: files in PEM, absolute; both NULL: plain HTTP. */
struct conf_tls {
    const char *certificate; /* with those that lead to its authority behind it */
    const char *key;
};

struct conf_collector {
    const char *listen;
    struct conf_tls tls;
    const char *metrics_listen; /* NULL: on the own port while that is a loopback address */
    bool ack_durable;           /* else enqueued */
    unsigned trusted_proxies;
    unsigned threads;
    uint64_t rate_limit;  /* events a second and key; 0: none */
    uint64_t spool_bytes; /* that may wait on disk for Kafka */
    bool require_user_hash;
    const char *user_hash_secret_file; /* its first line is the secret; NULL: none */
    bool respect_dnt, respect_gpc;
    unsigned ip;                 /* enum conf_ip */
    const char **cut_parameters; /* of urls, in lower case */
    size_t cut_parameter_count;
    struct conf_key *keys;
    size_t key_count;
};

struct conf_profiler {
    const char *listen;
    const char *metrics_listen;
    struct conf_tls tls;
    const char *advertise;      /* URL at which other profilers reach this one; NULL: made of `listen` */
    const char *peer_ca;        /* certificates that may have signed those of other profilers; NULL: the system's */
    const char *backups;        /* folder of backups, absolute */
    int64_t backup_interval_ms; /* 0: only when asked */
    unsigned backup_keep;       /* of those made by the clock */
    int64_t exports_keep_ms;    /* finished exports */
    unsigned control_group;     /* percent of people who are in no campaign's export */
    char country[3];            /* of phone numbers without a country's code; "": there is none */
    bool cache_off;             /* only the owner of a profile answers, though Redis is configured */
    int64_t session_gap_ms;
    bool count_from_paid;
    int64_t touch_window_ms;
    const char **payment_hosts; /* referrers that start no touch */
    size_t payment_host_count;
    bool link_by_order;
    unsigned max_users_per_device;
    unsigned max_devices_per_user;
    unsigned threads; /* that fold */
    unsigned http_threads;
    unsigned lookup_threads;
    int64_t commit_ms;     /* greatest age of what a crash replays, when idle */
    uint64_t commit_bytes; /* memory of uncommitted events over all partitions */
    int64_t keep_lost_ms;  /* the state of a partition that others follow */
    uint64_t cache_bytes;  /* memory of profiles kept after a commit, over all partitions */
    struct conf_token *tokens;
    size_t token_count;
    const char *tokens_file; /* more of them, looked at while running; absolute; NULL: none */
    const char *tags_file;   /* of the rules of tags, looked at while running; absolute; NULL: those built in */
    struct conf_webhook *webhooks;
    size_t webhook_count;
    uint64_t audit_bytes; /* of a file of the audit log, before the next one is begun */
    unsigned audit_files; /* full ones that are kept */
};

struct conf {
    const char *file; /* as given */
    const char *data; /* absolute */
    const char *keys; /* folder of the keys that seal personal values, absolute */
    bool kafka;       /* the event log is Kafka; else the embedded one */
    const char *topic_prefix;
    const char *instance; /* name of this process among others; NULL: one is made and kept in `data` */
    struct kafka_property *kafka_properties;
    size_t kafka_property_count;
    struct conf_redis redis;
    uint32_t partitions;
    char currency[4];
    const char *timezone;
    struct conf_blocked *blocked;
    const char *traits_file;       /* of the vocabulary of traits, absolute; NULL: the built-in one */
    struct vocabulary *vocabulary; /* what it says */
    struct conf_log log;
    struct conf_collector collector;
    struct conf_profiler profiler;
};

/* Reads and checks. NULL when anything is wrong: then `errors` has a line "file:line:column: text" for each mistake,
 * all of them. Free with conf_free. */
struct conf *conf_load(const char *file, struct buf *errors);
/* The same from memory; `file` is for messages and relative paths. */
struct conf *conf_parse(const char *file, struct str text, struct buf *errors);
void conf_free(struct conf *c);

/* The tokens of a file that holds a YAML list of the shape of profiler.tokens. */
struct conf_tokens {
    struct conf_token *tokens;
    size_t count;
};
/* Reads and checks it; a name or a hash that stands in `beside` (n of them) already is a mistake. NULL when anything is
 * wrong: then `errors` has a line "file:line:column: text" for each mistake. Free with conf_tokens_free. Any thread. */
struct conf_tokens *conf_tokens_load(const char *file, const struct conf_token *beside, size_t n, struct buf *errors);
/* The same from memory. */
struct conf_tokens *conf_tokens_parse(const char *file, struct str text, const struct conf_token *beside, size_t n,
                                      struct buf *errors);
/* NULL is allowed. */
void conf_tokens_free(struct conf_tokens *t);
/* "lookup", …, in the order of enum conf_scope; NULL past the last. Pure. */
const char *conf_scope_name(unsigned i);

/* Whether an id counts as absent: in the list whatever its case, or empty. Pure. */
bool conf_blocked(const struct conf_blocked *b, struct str id);

/* A commented file with every option at its default and these values in it, for `waymark init`. */
struct conf_sample {
    const char *currency, *timezone;
    const char *beacon_key;    /* in the clear */
    const char *server_sha256; /* hex */
    const char *token_sha256;  /* hex */
};
void conf_write_sample(struct buf *out, const struct conf_sample *s);
/* The reference in Markdown: key, type, default, range, whether it may change, why. */
void conf_write_reference(struct buf *out);

#endif
