/* The users of a device by number, and whose an event is by them: also of those who were erased, and of those who came
 * back. The worker's thread; device_owner and device_own_after any. */
#include "profiler/device_users.h"
#include "profiler/erased.h"

#include <stdlib.h>

struct key_hash device_user_hash(const struct partition *p, struct str id)
{
    char buf[PROFILE_ID_MAX_BYTES];

    return erasure_hash(p, profile_id(STR_NONE, id, buf));
}

uint32_t device_find_user(const struct device *d, struct str id)
{
    for (size_t i = 0; i < d->user_count; i++)
        if (str_eq(d->users[i].id, id))
            return (uint32_t)i;
    return NO_USER;
}

uint32_t device_find_user_then(const struct partition *p, const struct device *d, struct str id, int64_t time)
{
    struct key_hash hash;

    for (size_t i = 0; i < d->user_count; i++) {
        if (!d->users[i].erased || time > d->users[i].erased_until)
            continue;
        hash = device_user_hash(p, id);
        if (key_hash_eq(&d->users[i].was, &hash))
            return (uint32_t)i;
    }
    return device_find_user(d, id);
}

/* Up to when what was the user's is gone, of one who came back; INT64_MIN: nothing is. */
static int64_t erased_before(const struct partition *p, const struct device *d, struct str id)
{
    int64_t until = INT64_MIN;
    struct key_hash hash;

    for (size_t i = 0; i < d->user_count; i++) {
        if (!d->users[i].erased)
            continue;
        hash = device_user_hash(p, id);
        if (key_hash_eq(&d->users[i].was, &hash) && d->users[i].erased_until > until)
            until = d->users[i].erased_until;
    }
    return until;
}

/* A user has a number for good. Look-ups walk the list, so that it grows under the lock. */
static uint32_t add_user(struct partition *p, struct device *d, struct str id, int64_t erased_until)
{
    struct device_user user = {.unlinked_until = INT64_MIN, .erased_until = erased_until};
    uint32_t u;

    if (text_copy(id, &user.id) < 0)
        abort();
    pthread_mutex_lock(&p->lock);
    if (d->user_count == d->user_cap) {
        size_t cap = d->user_cap ? 2 * d->user_cap : 2;
        struct device_user *v = realloc(d->users, cap * sizeof *v);

        if (!v)
            abort();
        d->users = v;
        d->user_cap = cap;
    }
    d->users[d->user_count] = user;
    u = (uint32_t)d->user_count++;
    pthread_mutex_unlock(&p->lock);
    return u;
}

uint32_t device_user_number(struct partition *p, struct device *d, struct str id)
{
    uint32_t u = device_find_user(d, id);

    return u != NO_USER ? u : add_user(p, d, id, erased_before(p, d, id));
}

uint32_t device_split_links(struct partition *p, struct device *d, uint32_t user, int64_t until)
{
    uint32_t back = NO_USER;

    for (size_t i = 0; i < d->links.n; i++) {
        struct link *l = &d->links.v[i];

        if (l->user != user || l->key.time <= until)
            continue;
        if (back == NO_USER) {
            back = add_user(p, d, d->users[user].id, until);
            d->users[back].beyond = d->users[user].beyond;
            d->users[back].verdict = d->users[user].verdict;
            d->users[back].unlinked_until = d->users[user].unlinked_until;
        }
        l->user = back;
        d->links_changed = true;
    }
    return back;
}

int64_t device_own_after(const struct device_user *users, const struct runs *r)
{
    struct event_key end = {.time = INT64_MAX};

    return r->n > 0 && device_owner(users, r, &end) == NO_USER ? users[runs_last_user(r)].erased_until : INT64_MIN;
}

uint32_t device_owner(const struct device_user *users, const struct runs *r, const struct event_key *key)
{
    for (size_t i = r->n ? runs_at(r, key) : 0; i < r->n; i++) {
        const struct device_user *u = &users[r->v[i].user];

        if (key->time <= u->erased_until)
            return USER_ERASED;
        if (!u->erased)
            return r->v[i].user;
    }
    return NO_USER;
}
