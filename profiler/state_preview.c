/* What a link or an unlink would move: the device as it would be then, against the device as it is. Look-up threads. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/limits.h"
#include "profiler/device_copy.h"
#include "profiler/device_users.h"
#include "profiler/state_identity.h"
#include "proto/codec.h"

struct preview {
    struct device_copy copy;
    struct device_weight weight;
    struct runs before, after;
    uint32_t user;     /* of the step; NO_USER: nobody knows of it */
    size_t *from, *to; /* events by user; the last is of the device itself */
    struct str *orders;
    size_t order_count, order_cap;
    struct arena event;
    struct arena *arena;
    struct state_preview *out;
};

/* --- the device as it would be -------------------------------------------------------------------------------- */

static uint32_t find_user(const struct device *d, struct str id)
{
    for (size_t i = 0; i < d->user_count; i++)
        if (str_eq(d->users[i].id, id))
            return (uint32_t)i;
    return NO_USER;
}

static int add_user(struct device *d, struct str id, uint32_t *out)
{
    struct device_user *v = realloc(d->users, (d->user_count + 1) * sizeof *v);
    struct device_user user = {.unlinked_until = INT64_MIN, .erased_until = INT64_MIN};

    if (!v)
        return -ENOMEM;
    d->users = v;
    d->user_cap = d->user_count + 1;
    if (text_copy(id, &user.id) < 0)
        return -ENOMEM;
    d->users[d->user_count] = user;
    *out = (uint32_t)d->user_count++;
    return 0;
}

static int add_link(struct preview *v, const struct identity_step *step)
{
    struct device *d = v->copy.device;
    struct link link = {.key = {.time = step->time, .received = step->time}, .version = {INT64_MAX, UINT32_MAX}};
    int rc;

    v->user = find_user(d, step->user);
    if (v->user == NO_USER && (rc = add_user(d, step->user, &v->user)) < 0)
        return rc;
    link.user = v->user;
    rc = links_put(&d->links, &link);
    return rc < 0 ? rc : 0;
}

static void take_links_back(struct preview *v, const struct identity_step *step)
{
    struct device *d = v->copy.device;

    v->user = find_user(d, step->user);
    if (v->user != NO_USER && d->users[v->user].unlinked_until < step->time)
        d->users[v->user].unlinked_until = step->time;
}

static bool counts(void *arg, const struct link *l)
{
    const struct preview *v = arg;

    return !v->weight.shared && link_stands(v->copy.device, l);
}

static int take_step(struct preview *v, const struct identity_step *step, size_t events)
{
    struct device_copy *c = &v->copy;
    int rc = 0;

    if (!c->device && !(c->device = device_new(c->p, step->device)))
        return -ENOMEM;
    v->before = c->device->runs;
    c->device->runs = (struct runs){0};
    if (step->unlink)
        take_links_back(v, step);
    else
        rc = add_link(v, step);
    if (rc < 0)
        return rc;
    device_weigh(c, events, &v->weight);
    rc = runs_make(&c->device->links, counts, v, &v->after);
    if (rc == 0 && v->after.n > LIMIT_DEVICE_RUNS) {
        v->weight.shared = true;
        rc = runs_make(&c->device->links, counts, v, &v->after);
    }
    return rc;
}

/* --- what moves ----------------------------------------------------------------------------------------------- */

static int count_event(void *arg, const struct event_key *key, unsigned flags, struct str bytes)
{
    size_t *left = arg;

    (void)key;
    (void)flags;
    (void)bytes;
    return (*left)-- == 0;
}

static int add_order(struct preview *v, struct str bytes)
{
    enum order_status status;
    struct event ev;

    arena_reset(&v->event);
    if (event_unpack(bytes, &v->event, &ev) != CODEC_OK)
        return -EIO;
    if (!order_stated(&ev, &status))
        return 0;
    if (v->order_count == v->order_cap) {
        size_t cap = v->order_cap ? 2 * v->order_cap : 16;
        struct str *more = realloc(v->orders, cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        v->orders = more;
        v->order_cap = cap;
    }
    v->orders[v->order_count] = arena_dup(v->arena, ev.order.order_id);
    return v->orders[v->order_count++].p ? 0 : -ENOMEM;
}

static int move_event(void *arg, const struct event_key *key, unsigned flags, struct str bytes)
{
    struct preview *v = arg;
    struct state_preview *out = v->out;
    const struct device_user *users = v->copy.device->users;
    uint32_t from = device_owner(users, &v->before, key), to = device_owner(users, &v->after, key);
    size_t self = v->copy.device->user_count;

    if (from == to || from == USER_ERASED || to == USER_ERASED)
        return 0;
    v->from[from == NO_USER ? self : from]++;
    v->to[to == NO_USER ? self : to]++;
    if (out->events == 0 || key->time < out->first)
        out->first = key->time;
    if (out->events == 0 || key->time > out->last)
        out->last = key->time;
    out->events++;
    return flags & ENTRY_ORDER ? add_order(v, bytes) : 0;
}

static int compare_texts(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void count_orders(struct preview *v)
{
    if (v->order_count > 1)
        qsort(v->orders, v->order_count, sizeof *v->orders, compare_texts);
    for (size_t i = 0; i < v->order_count; i++)
        v->out->orders += i == 0 || !str_eq(v->orders[i], v->orders[i - 1]);
}

static int list(struct preview *v, const size_t *events, struct moved_events **out, size_t *n)
{
    const struct device *d = v->copy.device;
    char buf[PROFILE_ID_MAX_BYTES];

    *out = arena_alloc(v->arena, (d->user_count + 1) * sizeof **out);
    if (!*out)
        return -ENOMEM;
    for (size_t i = 0; i <= d->user_count; i++) {
        struct str user = i < d->user_count ? d->users[i].id : STR_NONE;

        if (events[i] == 0)
            continue;
        (*out)[*n] = (struct moved_events){arena_dup(v->arena, profile_id(d->id, user, buf)), events[i]};
        if (!(*out)[(*n)++].profile.p)
            return -ENOMEM;
    }
    return 0;
}

static bool has_device(struct preview *v)
{
    for (size_t i = 0; i < v->after.n; i++)
        if (v->after.v[i].user == v->user)
            return true;
    return false;
}

static int look(struct preview *v, const struct identity_step *step, struct err *e)
{
    size_t most = identity_max_events(v->copy.p->state->rules), left = most, n;
    int rc = device_copy_events(&v->copy, count_event, &left, e);

    if (rc < 0)
        return rc;
    rc = take_step(v, step, most - left);
    if (rc < 0)
        return rc;
    n = 2 * (v->copy.device->user_count + 1);
    v->from = arena_zalloc(v->arena, n * sizeof *v->from);
    if (!v->from)
        return -ENOMEM;
    v->to = v->from + n / 2;
    if (v->before.n > 0 || v->after.n > 0)
        rc = device_copy_events(&v->copy, move_event, v, e);
    if (rc < 0)
        return rc;
    count_orders(v);
    v->out->shared_after = v->weight.shared;
    v->out->linked_after = v->user != NO_USER && has_device(v);
    rc = list(v, v->from, &v->out->from, &v->out->from_count);
    return rc == 0 ? list(v, v->to, &v->out->to, &v->out->to_count) : rc;
}

int state_preview(struct state *s, uint32_t partition, const struct identity_step *step, struct arena *a,
                  struct state_preview *out, struct err *e)
{
    struct preview v = {.arena = a, .out = out, .user = NO_USER};
    int rc;

    assert(partition < s->partition_count);
    *out = (struct state_preview){.first = TIME_NONE, .last = TIME_NONE};
    arena_init(&v.event, SIZE_MAX);
    rc = device_copy_open(s, partition, step->device, &v.copy, e);
    if (rc == 0)
        rc = look(&v, step, e);
    device_copy_close(&v.copy);
    runs_deinit(&v.before);
    runs_deinit(&v.after);
    free(v.orders);
    arena_deinit(&v.event);
    return rc;
}
