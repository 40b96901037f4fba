/* What each pool thread keeps from request to request, so that the common request asks malloc for next to nothing. */
#ifndef WAYMARK_WORKER_H
#define WAYMARK_WORKER_H

#include "collector/draft.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"

struct worker {
    struct json_parser *parser;
    struct arena arena; /* of the event at hand */
    struct buf inflated;
    struct buf text;
    struct draft draft;
    struct name_memo names;
    unsigned char random[32 * 16];
    size_t random_left;
};

/* The workers of all threads: one for each that asks, freed when its thread ends. */
struct workers;

struct workers *workers_new(void);
/* After the threads have ended. NULL is allowed. */
void workers_free(struct workers *w);
/* The calling thread's own; NULL when memory is out. */
struct worker *worker_get(struct workers *w);
/* Ready for the next request: gives large memory back. */
void worker_reset(struct worker *w);
/* A fresh message id; `arg` is the worker. */
void worker_mint(void *arg, char hex[33]);

#endif
