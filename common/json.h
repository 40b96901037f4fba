/* Reading JSON: simdjson behind a C face. A parsed document is a tree of `struct json` that points into the caller's
 * bytes and into the parser's memory. Checked whole: what is accepted is valid JSON to the last byte, including UTF-8,
 * numbers of any size and nesting up to LIMIT_JSON_DEPTH. One thread per parser. */
#ifndef WAYMARK_JSON_H
#define WAYMARK_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"

/* Bytes that must be readable behind every text given to json_parse. */
#define JSON_PADDING 64

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    uint32_t count;           /* elements or members */
    uint32_t height;          /* 0 for a scalar, else 1 + the greatest height of a child */
    struct str key;           /* of a member, unescaped; absent elsewhere */
    struct str text;          /* string: unescaped. number: as written. else absent */
    struct str raw;           /* the value as written, itself valid JSON */
    const struct json *child; /* first element or member */
    const struct json *next;  /* sibling */
};

struct json_parser;

enum {
    JSON_OK = 0,
    JSON_INVALID = 1,
    JSON_TOO_LARGE = 2 /* too many values, or over 4 GiB */
};

struct json_parser *json_parser_new(void);
void json_parser_free(struct json_parser *p);
/* From now on texts have at most that many values; LIMIT_JSON_NODES, the most, if this is not called. */
void json_parser_limit(struct json_parser *p, size_t values);
/* Parses exactly one value with white space around it. The tree lives until the next call or json_parser_free, and
 * the bytes must live as long. A lone surrogate escape (a cut emoji) is overwritten in place by \ufffd, so that what
 * is kept is readable by everybody. JSON_INVALID fills `e` with the reason and the byte offset; -ENOMEM. *root is
 * written only on JSON_OK. A byte order mark is not JSON. */
int json_parse(struct json_parser *p, char *bytes, size_t n, const struct json **root, struct err *e);
/* Forgets the tree and gives back the memory that a large text needed; otherwise the next json_parse does. */
void json_parser_trim(struct json_parser *p);

/* The member of that name; of several the last, as JavaScript has it. NULL when absent or `o` is no object. */
const struct json *json_get(const struct json *o, const char *key);

/* Writers. A string with its quotes: escapes what must be, keeps everything else as it is (bad UTF-8 becomes
 * U+FFFD). */
void json_write_str(struct buf *b, struct str s);
/* ,"key": or "key": after a { ; `key` needs no escaping. */
void json_write_key(struct buf *b, const char *key);
/* key and string, nothing when `s` is absent. */
void json_write_member(struct buf *b, const char *key, struct str s);

#endif
