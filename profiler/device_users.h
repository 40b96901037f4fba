/* The users of a device by number, and whose an event is by them. Private to the state. */
#ifndef WAYMARK_DEVICE_USERS_H
#define WAYMARK_DEVICE_USERS_H

#include "profiler/state_private.h"

/* Whose an event of the device without a user is: the number of a user, NO_USER, or USER_ERASED: nobody's any more.
 * What comes after the time up to which its user was erased is as of a device that nobody had before: the next user's,
 * or its own. */
#define USER_ERASED (UINT32_MAX - 1)
uint32_t device_owner(const struct device_user *users, const struct runs *r, const struct event_key *key);
/* Of a device whose last user was erased: only events after it are its own; INT64_MIN of others. */
int64_t device_own_after(const struct device_user *users, const struct runs *r);
/* Whether one event more of a device without a user is one too many. */
bool device_is_full(const struct partition *p, const struct stream *home);
/* Whether it is that of a guest's order, which counts towards no cap and stands in nobody's ids. */
bool device_is_guest(struct str id);

/* By which an erased user is remembered, `was`. */
struct key_hash device_user_hash(const struct partition *p, struct str id);
/* By the id, or the alias, as it stands there. NO_USER: there is none. */
uint32_t device_find_user(const struct device *d, struct str id);
/* Under whom what is said of the user at that time is kept: what was theirs when they were erased is their alias'. */
uint32_t device_find_user_then(const struct partition *p, const struct device *d, struct str id, int64_t time);
/* As device_find_user; one who is not there is added, for good. Memory that is out ends the process. */
uint32_t device_user_number(struct partition *p, struct device *d, struct str id);
/* Links of later than the erasure are those of a new life: they get a number of their own, which it returns; NO_USER
 * when there are none. The links are known. */
uint32_t device_split_links(struct partition *p, struct device *d, uint32_t user, int64_t until);

/* The user whom an erasure concerns, if it does. */
struct device_erasure {
    uint32_t user; /* NO_USER: none */
    uint32_t back; /* the same user who came back later; NO_USER: did not */
    int64_t until;
    struct str alias;
    const struct key_hash *was; /* where the log alone knows whom the alias stands for; else NULL */
    bool nameless;              /* nobody is named on disk who was not before */
};
/* Works out anew who has the device, from all that is known of it. Nothing is told or shown when it fails. The links
 * are known. 0 or negative errno. */
int device_recompute(struct partition *p, struct device *d, const struct device_erasure *erasure,
                     struct err *e); /* device_change.c */

#endif
