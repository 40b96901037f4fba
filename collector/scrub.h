/* Takes out of an event's JSON what must not be kept in the clear, or at all: members with personal values go into an
 * object of their own that is sealed later, full numbers of cards and userHash are dropped, parameters are cut from
 * urls, addresses are truncated. What holds none of this stays the bytes it was. Pure; one thread at a time. */
#ifndef WAYMARK_SCRUB_H
#define WAYMARK_SCRUB_H

#include "collector/privacy.h"
#include "common/buf.h"
#include "common/json.h"

/* Where members stood; also the order in which they are written. */
enum scrub_part {
    SCRUB_TRAITS,
    SCRUB_CONTEXT,
    SCRUB_PROPERTIES,
    SCRUB_EXTRA,
    SCRUB_GROUP, /* the traits of a group: nothing of it is personal */
    SCRUB_PARTS
};

struct scrub {
    const struct privacy *rules;
    struct name_memo *memo; /* may be NULL */
    struct arena *arena;
    struct buf taken[SCRUB_PARTS]; /* members, each behind a comma but the first */
    uint32_t cards;                /* full numbers that were dropped */
    bool failed;                   /* memory was out */
};

void scrub_begin(struct scrub *s, const struct privacy *rules, struct name_memo *memo, struct arena *a);
/* Frees. *personal: the object {"traits":{…},"context":{…},"properties":{…},"extra":{…}} of what was taken out, absent
 * when that is nothing. 0 or -ENOMEM. */
int scrub_end(struct scrub *s, struct str *personal);

/* What one part is made of. */
struct scrub_source {
    const struct json *own, *under; /* objects or NULL; `under` counts where `own` has no member of that name */
    /* Whether a member of `own` belongs to it; NULL: all do. */
    bool (*belongs)(const struct json *member, const void *arg);
    const void *arg;
    const char *without; /* a member that is left out of both; NULL: none */
    const char *prefix;  /* of the names of what is taken out; NULL: none */
};

/* Whether something of it would be taken out or changed. */
bool scrub_wanted(struct scrub *s, enum scrub_part part, const struct scrub_source *from);
/* The object of what stays; absent when that is nothing. 0 or -ENOMEM. */
int scrub_object(struct scrub *s, enum scrub_part part, const struct scrub_source *from, struct str *kept);
/* A url that has a field of its own. */
void scrub_url(struct scrub *s, struct str *url);

#endif
