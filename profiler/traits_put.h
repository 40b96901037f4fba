/* The body of PUT /v1/profiles/{id}/traits, made an identify call for the log: what is personal in it is sealed as the
 * collector seals it. Pure but for the keys and a random message id; the thread of the caller. */
#ifndef WAYMARK_TRAITS_PUT_H
#define WAYMARK_TRAITS_PUT_H

#include "common/conf.h"
#include "profiler/traits.h"

struct traits_put {
    /* in */
    struct str id;         /* user:… or anon:… */
    struct str message_id; /* absent: one is made */
    int64_t received;
    const struct conf_blocked *blocked; /* may be NULL */
    /* out */
    struct event event; /* in the arena */
    const char *code;   /* of the error */
};

enum { TRAITS_PUT_BAD = 1, TRAITS_PUT_NO_KEYS = 2 };

/* 0; TRAITS_PUT_BAD with the code and, in `why`, each name with what is wrong with it; TRAITS_PUT_NO_KEYS when
 * something personal cannot be sealed; -ENOMEM. `body` has JSON_PADDING readable bytes behind it and is written to. */
int traits_put_read(struct traits_put *put, char *body, size_t n, const struct traits_rules *r, struct arena *a,
                    struct buf *why);

#endif
