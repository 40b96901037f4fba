/* Write keys: where a request may carry one, and which of ours it is. A request may carry several; the first that is
 * known counts, tried in the order in which they are offered. Pure but for the hash; any thread. */
#ifndef WAYMARK_AUTH_H
#define WAYMARK_AUTH_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/conf.h"
#include "common/str.h"

struct auth {
    const struct conf_collector *conf;
    const struct conf_key *key; /* the first known */
    bool given;                 /* some key was offered, known or not */
};

/* Tries one key; absent, empty and too long ones are no key. Compared by hash and in constant time over all keys. */
void auth_offer(struct auth *a, struct str key);
/* The same for a place that anybody can read: a server key is not taken from there. */
void auth_offer_public(struct auth *a, struct str key);

/* The key in an Authorization header: the user of Basic (a colon and any password may follow) or the token of Bearer.
 * Absent when there is none. Points into `header` or the arena. */
struct str auth_authorization(struct str header, struct arena *a);
/* Jitsu's "id:secret": what stands before the colon. */
struct str auth_x_write_key(struct str header);

/* Whether a key is taken from a page of that Origin; an absent Origin is no page. */
bool auth_origin_allowed(const struct conf_key *key, struct str origin);

#endif
