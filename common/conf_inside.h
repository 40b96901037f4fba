/* What the files of the configuration share: the tree that the YAML becomes, the table of options, the collector of
 * mistakes. No libyaml type stands here. One thread, at start-up. */
#ifndef WAYMARK_CONF_INSIDE_H
#define WAYMARK_CONF_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/conf.h"
#include "common/limits.h"
#include "common/str.h"

#define CONF_FILE_BYTES (1 * MIB)
#define CONF_MEMORY (64 * MIB) /* of one configuration with its tree */
#define CONF_NODES 50000       /* of one file */
#define CONF_DEPTH 64          /* of lists and maps in each other */
#define CONF_BRACKETS 10000    /* opening ones: libyaml's time grows with the square of those that are open */
#define CONF_ERRORS 100        /* shown in one run */
#define CONF_LIST 10000        /* entries of one list */

/* --- the tree --- */

enum conf_kind { CONF_SCALAR, CONF_LIST_NODE, CONF_MAP_NODE };

struct conf_node {
    enum conf_kind kind;
    bool quoted;              /* a scalar in quotes or as a block: never a null, a number or a boolean */
    unsigned line, column;    /* from 1 */
    struct str text;          /* of a scalar */
    size_t n;                 /* elements, or pairs */
    struct conf_node **items; /* elements; of a map its values */
    struct conf_node **keys;  /* of a map */
};

/* --- mistakes --- */

struct conf_error {
    unsigned line, column; /* 0: of the file as a whole */
    const char *text;
};

struct conf_state {
    const char *file;
    struct arena *arena;
    struct conf_error errors[CONF_ERRORS];
    size_t error_count; /* all; those past CONF_ERRORS are only counted */
};

void conf_error_at(struct conf_state *s, unsigned line, unsigned column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* At a node; NULL: of the file as a whole. */
void conf_error(struct conf_state *s, const struct conf_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Text from outside as it may stand in a message: short, in quotes, without control characters. From the arena. */
const char *conf_shown(struct conf_state *s, struct str text);
/* Arena memory; aborts never: NULL has been reported. */
void *conf_alloc(struct conf_state *s, size_t n);
const char *conf_copy(struct conf_state *s, struct str text);

/* conf_parse with another bound on memory, for tests. */
struct conf *conf_parse_within(const char *file, struct str text, struct buf *errors, size_t memory);

/* Reads the YAML text. NULL after mistakes, which are reported. An empty file is an empty map. */
struct conf_node *conf_yaml(struct conf_state *s, struct str text);
/* Whether the node is YAML's null: ~, null or nothing. */
bool conf_null(const struct conf_node *n);

/* --- the table --- */

enum conf_change {
    CONF_ANY,    /* with the next start */
    CONF_FIXED,  /* never, once data exists */
    CONF_REFOLD, /* the profiles must be folded again from the log */
    CONF_ONWARD  /* with the next start, for events received from then on */
};

struct conf_row;
/* Reads a node into its field of the struct at `base`. Reports what is wrong and returns false then. */
typedef bool conf_reader(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base);

struct conf_type {
    const char *name; /* in the reference */
    conf_reader *read;
    /* The text of a bound; NULL: the type has none. */
    void (*write_bound)(struct buf *out, uint64_t bound);
};

#define CONF_NOWHERE SIZE_MAX

struct conf_row {
    const char *path; /* from the top, with dots; of an entry of a list only its own name */
    const struct conf_type *type;
    size_t offset;        /* in struct conf, or in the struct of the entry; CONF_NOWHERE: it is only checked */
    size_t count_offset;  /* of a list's length */
    const char *fallback; /* YAML text, lists without brackets; NULL: none */
    uint64_t min, max;
    const char *choices[4]; /* of a choice, up to a NULL */
    const char *truth;      /* the choice that is stored as true; of an index nothing */
    const char *range;      /* in words, where min, max and choices do not say it */
    bool unbuilt;           /* only the fallback is taken */
    enum conf_change change;
    const char *why;
};

extern const struct conf_row conf_rows[];
extern const size_t conf_row_count;
/* The entries of collector.keys, profiler.tokens and profiler.webhooks. */
extern const struct conf_row conf_key_rows[];
extern const size_t conf_key_row_count;
extern const struct conf_row conf_token_rows[];
extern const size_t conf_token_row_count;
extern const struct conf_row conf_webhook_rows[];
extern const size_t conf_webhook_row_count;

/* What an entry of collector.keys is read into. */
struct conf_key_entry {
    struct conf_key key;
    bool server;
};

/* Reads the map `n` by the rows, whose paths begin with `prefix`. `seen[i]` is set to the value's node of row i. */
void conf_read_map(struct conf_state *s, const struct conf_row *rows, size_t count, const char *prefix,
                   const struct conf_node *n, void *base, const struct conf_node **seen);
/* Stores the fallbacks of all rows. */
void conf_read_fallbacks(struct conf_state *s, const struct conf_row *rows, size_t count, void *base);
/* The field of a row; NULL when it has none. */
void *conf_field(const struct conf_row *row, void *base);
/* A scalar's text: not null, not empty, without control characters, at most `longest` bytes. `what`: "an address such
 * as 127.0.0.1:8080", for the message. */
bool conf_text(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, size_t longest,
               const char *what, struct str *out);
/* The node that a fallback stands for. */
struct conf_node *conf_fallback_node(struct conf_state *s, const struct conf_row *row);

extern const struct conf_type conf_type_choice, conf_type_boolean, conf_type_count, conf_type_big_count,
    conf_type_duration, conf_type_size, conf_type_listen, conf_type_folder, conf_type_currency, conf_type_country,
    conf_type_zone, conf_type_name, conf_type_write_key, conf_type_sha256, conf_type_scopes, conf_type_hosts,
    conf_type_origins, conf_type_ids, conf_type_keys, conf_type_tokens, conf_type_properties, conf_type_word,
    conf_type_file, conf_type_private_file, conf_type_http, conf_type_redis, conf_type_index, conf_type_parameters,
    conf_type_webhooks, conf_type_webhook_url, conf_type_webhook_secret, conf_type_webhook_audiences,
    conf_type_webhook_names;

/* --- tokens --- */

#define CONF_TOKENS 1000 /* of one list; compared pair by pair */

/* The entries of a list of at most CONF_TOKENS; mistakes are reported. NULL: out of memory. */
struct conf_token *conf_token_list(struct conf_state *s, const struct conf_node *n);

/* The mistakes as lines, in the order of the file. */
void conf_write_errors(struct conf_state *s, struct buf *out);
/* A file of at most CONF_FILE_BYTES, which the caller frees. NULL: `errors` says why. */
char *conf_read_file(const char *file, size_t *n, struct buf *errors);

/* --- blocked ids --- */

struct conf_blocked *conf_blocked_new(struct conf_state *s, const struct str *ids, size_t n);

#endif
