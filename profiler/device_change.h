/* A change of who has a device, while it is worked out. Private to the files that do: the worker's thread.
 *
 * Everything is read and worked out first; then those are told who gain or lose events; then it is shown. Gains are
 * told before losses, so that an event is never nowhere. */
#ifndef WAYMARK_DEVICE_CHANGE_H
#define WAYMARK_DEVICE_CHANGE_H

#include "profiler/device_users.h"

/* An event that gets another owner. */
struct device_move {
    struct event_key key;
    unsigned flags;
    struct str bytes;
    struct str order_id; /* that it states; or absent */
    uint32_t from, to;
};

/* What becomes of a device. */
struct device_change {
    struct partition *p;
    struct device *d;
    struct stream *home;     /* its events without a user */
    struct profile *profile; /* anon:D */
    bool crowded, shared;
    bool *counts; /* of each user: has a link that counts */
    uint32_t figures[IDENTITY_FIGURES];
    struct runs runs;
    struct device_move *moved;
    size_t moved_count, moved_cap;
    struct device_erasure erasure;
    struct device_user *after; /* its users with the erasure, in the arena; texts are the device's */
    bool holds;                /* what falls to the erased stays for now, */
    bool held;                 /* and something does */
    bool lets_go;              /* or is erased after all, and others are told anew what they have, see grave.c */
    bool erases;               /* some of its events are gone: */
    struct stream_rewrite rewrite;
    uint64_t gone;
    struct arena arena;
    int64_t from, to; /* times between which owners differ */
    struct err *err;
};

/* Which links count, and what follows: whether it is shared, and its runs. 0 or negative errno. device_runs.c */
int device_change_runs(struct device_change *c);
/* The events that get another owner, and whether some of them are gone, or are held. 0 or negative errno.
 * device_moves.c */
int device_change_moves(struct device_change *c);
/* Tells those who gain or lose; nothing can fail any more. device_tell.c */
void device_change_tell(struct device_change *c);

/* Whether the user is to have the device in its ids. */
static inline bool device_change_member(const struct device_change *c, size_t user)
{
    return c->counts[user] && !c->after[user].erased;
}

#endif
