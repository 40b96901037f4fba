/* Links and runs. Pure; one thread at a time. */
#include "profiler/links.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void links_deinit(struct links *l)
{
    free(l->v);
    *l = (struct links){0};
}

/* The first link at or after the key. */
static size_t place_of(const struct links *l, const struct event_key *key)
{
    size_t low = 0, high = l->n;

    if (high > 0 && event_key_cmp(&l->v[high - 1].key, key) < 0)
        return high; /* in order: nearly always */
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (event_key_cmp(&l->v[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static size_t find_subject(const struct links *l, const struct uid *subject)
{
    size_t i = 0;

    while (i < l->n && memcmp(l->v[i].subject.b, subject->b, UID_BYTES) != 0)
        i++;
    return i;
}

static int reserve(struct links *l)
{
    size_t cap = l->cap ? 2 * l->cap : 4;
    struct link *v;

    if (l->n < l->cap)
        return 0;
    v = realloc(l->v, cap * sizeof *v);
    if (!v)
        return -ENOMEM;
    l->v = v;
    l->cap = cap;
    return 0;
}

int links_put(struct links *l, const struct link *link)
{
    size_t known = find_subject(l, &link->subject), at;

    if (known < l->n && internal_version_cmp(link->version, l->v[known].version) <= 0)
        return 0;
    if (reserve(l) < 0)
        return -ENOMEM;
    if (known < l->n) {
        memmove(l->v + known, l->v + known + 1, (l->n - known - 1) * sizeof *l->v);
        l->n--;
    }
    at = place_of(l, &link->key);
    memmove(l->v + at + 1, l->v + at, (l->n - at) * sizeof *l->v);
    l->v[at] = *link;
    l->n++;
    return 1;
}

int links_add(struct links *l, const struct link *link)
{
    if (reserve(l) < 0)
        return -ENOMEM;
    l->v[l->n++] = *link;
    return 0;
}

/* By subject, the newest first. */
static int compare_subjects(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    int c = memcmp(x->subject.b, y->subject.b, UID_BYTES);

    return c ? c : internal_version_cmp(y->version, x->version);
}

static int compare_links(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    int c = event_key_cmp(&x->key, &y->key);

    return c ? c : memcmp(x->subject.b, y->subject.b, UID_BYTES);
}

void links_settle(struct links *l)
{
    size_t n = 0;

    if (l->n < 2)
        return;
    qsort(l->v, l->n, sizeof *l->v, compare_subjects);
    for (size_t i = 0; i < l->n; i++)
        if (i == 0 || memcmp(l->v[i].subject.b, l->v[n - 1].subject.b, UID_BYTES) != 0)
            l->v[n++] = l->v[i];
    l->n = n;
    qsort(l->v, l->n, sizeof *l->v, compare_links);
}

/* --- as bytes ------------------------------------------------------------------------------------------------- */

enum { LINK_REMOVED = 1, LINK_BY_ORDER = 2 };

bool link_write(const struct link *link, struct buf *b)
{
    const struct event_key *k = &link->key;

    buf_add_varint(b, link->user);
    buf_add_varint(b, (link->removed ? LINK_REMOVED : 0) | (link->by_order ? LINK_BY_ORDER : 0));
    buf_add_svarint(b, k->time);
    buf_add_svarint(b, (int64_t)((uint64_t)k->received - (uint64_t)k->time));
    buf_add_varint(b, k->position);
    buf_add(b, k->uid.b, UID_BYTES);
    if (link->by_order)
        buf_add(b, link->subject.b, UID_BYTES);
    buf_add_svarint(b, link->version.cause);
    return buf_add_varint(b, link->version.index);
}

static bool read_uid(const char **p, const char *end, struct uid *out)
{
    if (end - *p < UID_BYTES)
        return false;
    memcpy(out->b, *p, UID_BYTES);
    *p += UID_BYTES;
    return true;
}

bool link_read(const char **p, const char *end, struct link *out)
{
    uint64_t user, flags, position, index;
    int64_t delay;

    if (!get_varint(p, end, &user) || user >= NO_USER || !get_varint(p, end, &flags) ||
        !get_svarint(p, end, &out->key.time) || !get_svarint(p, end, &delay) || !get_varint(p, end, &position) ||
        position > UINT32_MAX || !read_uid(p, end, &out->key.uid))
        return false;
    out->subject = out->key.uid;
    if ((flags & LINK_BY_ORDER) && !read_uid(p, end, &out->subject))
        return false;
    if (!get_svarint(p, end, &out->version.cause) || !get_varint(p, end, &index) || index > UINT32_MAX)
        return false;
    out->key.received = (int64_t)((uint64_t)out->key.time + (uint64_t)delay);
    out->key.position = (uint32_t)position;
    out->user = (uint32_t)user;
    out->removed = flags & LINK_REMOVED;
    out->by_order = flags & LINK_BY_ORDER;
    out->version.index = (uint32_t)index;
    return true;
}

/* --- runs ----------------------------------------------------------------------------------------------------- */

void runs_deinit(struct runs *r)
{
    free(r->v);
    *r = (struct runs){0};
}

static int add_run(struct runs *r, const struct link *link)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 2;
        struct run *v = realloc(r->v, cap * sizeof *v);

        if (!v)
            return -ENOMEM;
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = (struct run){link->key, link->user};
    return 0;
}

int runs_make(const struct links *l, bool (*counts)(void *arg, const struct link *link), void *arg, struct runs *out)
{
    int rc = 0;

    out->n = 0;
    for (size_t i = 0; i < l->n && rc == 0; i++) {
        const struct link *link = &l->v[i];

        if (!link->removed && (out->n == 0 || out->v[out->n - 1].user != link->user) && counts(arg, link))
            rc = add_run(out, link);
    }
    return rc;
}

/* The last run that began at or before the key, else the first. */
size_t runs_at(const struct runs *r, const struct event_key *key)
{
    size_t low = 0, high = r->n;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (event_key_cmp(&r->v[middle].from, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? low - 1 : 0;
}

uint32_t runs_user(const struct runs *r, const struct event_key *key)
{
    return r->n ? r->v[runs_at(r, key)].user : NO_USER;
}

uint32_t runs_last_user(const struct runs *r)
{
    return r->n ? r->v[r->n - 1].user : NO_USER;
}

static uint32_t user_of(const struct runs *r, size_t i)
{
    return r->n ? r->v[i].user : NO_USER;
}

static bool same_run(const struct runs *a, size_t i, const struct runs *b, size_t j)
{
    return a->v[i].user == b->v[j].user && event_key_cmp(&a->v[i].from, &b->v[j].from) == 0;
}

bool runs_differ(const struct runs *a, const struct runs *b, int64_t *from, int64_t *to)
{
    size_t head = 0, tail = 0;
    const struct event_key *first;

    if (a->n == 0 || b->n == 0) {
        *from = INT64_MIN;
        *to = INT64_MAX;
        return a->n != b->n;
    }
    while (head < a->n && head < b->n && same_run(a, head, b, head))
        head++;
    if (head == a->n && head == b->n)
        return false;
    while (tail < a->n - head && tail < b->n - head && same_run(a, a->n - 1 - tail, b, b->n - 1 - tail))
        tail++;
    /* Everything before the first link is that first user's. */
    if (head == 0 && user_of(a, 0) != user_of(b, 0)) {
        *from = INT64_MIN;
    } else {
        first = head < a->n && (head == b->n || event_key_cmp(&a->v[head].from, &b->v[head].from) < 0)
                    ? &a->v[head].from
                    : &b->v[head].from;
        *from = first->time;
    }
    *to = tail > 0 ? a->v[a->n - tail].from.time : INT64_MAX;
    return true;
}
