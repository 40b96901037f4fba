/* A body as a row of events: one object, an array, NDJSON, or {"batch":[…]}. Pure; one thread at a time. */
#ifndef WAYMARK_REQUEST_H
#define WAYMARK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/json.h"
#include "common/str.h"

enum { REQUEST_OK = 0, REQUEST_NOT_JSON = 1, REQUEST_NOT_EVENTS = 2, REQUEST_TOO_LARGE = 3 };

struct request {
    struct json_parser *parser;
    const struct json *top;   /* the object or array that the body is; NULL for NDJSON */
    const struct json *batch; /* the object around a batch; else NULL */
    const struct json *first; /* the first event, unless it is a line that cannot be read; NULL when there is none */
    uint32_t count;           /* events */
    bool single;              /* the body is one event */
    /* private */
    const struct json *next;
    uint32_t index;
    bool lines;
    bool first_parsed; /* `first` is the line at `left` */
    struct str left;
};

struct request_item {
    const struct json *value; /* NULL: a line that cannot be read */
    struct str bytes;         /* as it came */
    uint32_t index;
    struct err why; /* why a line cannot be read */
};

/* Reads `bytes`, which must be followed by JSON_PADDING readable ones and may be written to. `orders`: an object with
 * an order id is an order log, even with a member named batch. Returns REQUEST_NOT_JSON (nothing can be read),
 * REQUEST_NOT_EVENTS (a scalar, or a batch that is no array), REQUEST_TOO_LARGE (more values than the parser takes) or
 * -ENOMEM, with the words in `e`. */
int request_open(struct request *r, struct json_parser *parser, char *bytes, size_t n, bool orders, struct err *e);
/* The next event; what it gave before is gone. False at the end. */
bool request_next(struct request *r, struct request_item *out);

/* The text of a member when it is a string; else absent. */
struct str request_text(const struct json *object, const char *member);

#endif
