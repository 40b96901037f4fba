/* For the tests of the state: a log in an array, random events, folders that go away, and the model: what every profile
 * must be, worked out from the set of events alone. */
#ifndef WAYMARK_TESTS_STATE_CASE_H
#define WAYMARK_TESTS_STATE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <ftw.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/limits.h"
#include "profiler/state.h"
#include "proto/codec.h"

/* --- chance --------------------------------------------------------------------------------------------------- */

static uint64_t rnd_state = 1;

static inline uint64_t rnd(void)
{
    uint64_t z = (rnd_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline unsigned below(unsigned n)
{
    return (unsigned)(rnd() % n);
}

static inline bool chance(unsigned percent)
{
    return below(100) < percent;
}

/* --- a folder that goes away ---------------------------------------------------------------------------------- */

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline char *folder_new(void)
{
    char text[] = "/tmp/waymark-state-XXXXXX";

    assert_non_null(mkdtemp(text));
    return strdup(text);
}

static inline void folder_free(char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

/* --- a log ---------------------------------------------------------------------------------------------------- */

struct test_log {
    struct log_record *v;
    size_t n, cap;
};

static inline void log_add(struct test_log *l, struct str bytes)
{
    char *copy = malloc(bytes.n + 1);

    assert_non_null(copy);
    memcpy(copy, bytes.p, bytes.n);
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->v = realloc(l->v, l->cap * sizeof *l->v);
        assert_non_null(l->v);
    }
    l->v[l->n] = (struct log_record){
        .kind = LOG_KIND_EVENT, .key = STR_LIT("k"), .value = {copy, bytes.n}, .offset = (int64_t)l->n};
    l->n++;
}

static inline void log_free(struct test_log *l)
{
    for (size_t i = 0; i < l->n; i++)
        free((void *)l->v[i].value.p);
    free(l->v);
    *l = (struct test_log){0};
}

/* The uid as the codec makes it. */
static inline void log_event(struct test_log *l, struct event *e)
{
    struct buf b;

    e->uid = event_uid(e->source, e->anonymous_id, e->user_id, e->message_id);
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(e, &b));
    log_add(l, buf_str(&b));
    buf_deinit(&b);
}

static inline struct event event_at(const char *anonymous_id, const char *user_id, const char *message_id, int64_t time)
{
    struct event e = {.type = EVENT_PAGE,
                      .trust = TRUST_BEACON,
                      .source = STR_LIT("web"),
                      .anonymous_id = str_of(anonymous_id),
                      .user_id = str_of(user_id),
                      .message_id = str_of(message_id),
                      .time = time,
                      .received = time + 5,
                      .original_time = TIME_NONE,
                      .sent = TIME_NONE};

    return e;
}

/* A name that begins with the stem and whose home, behind the prefix as a key, is the partition: what is said of it
 * goes nowhere else. */
static inline void local_name(char *out, size_t size, const char *prefix, const char *stem, uint32_t partition,
                              uint32_t partitions)
{
    for (unsigned salt = 0;; salt++) {
        char key[96];

        assert_true(snprintf(out, size, "%s.%u", stem, salt) < (int)size);
        snprintf(key, sizeof key, "%s%s", prefix, out);
        if (event_log_partition(str_of(key), partitions) == partition)
            return;
    }
}

/* --- the model ------------------------------------------------------------------------------------------------ */

struct model_event {
    struct event ev; /* points into bytes and the arena */
    struct str bytes;
    char profile[300];
    size_t profile_n;
    bool stands;
};

struct model {
    struct arena arena;
    struct model_event *v;
    size_t n;
    const struct fold_rules *rules;
};

/* Whether the event says that its user used the device. */
static inline bool model_links(const struct model_event *e, struct str device)
{
    if (!str_has(e->ev.user_id))
        return false;
    return (str_has(e->ev.anonymous_id) && str_eq(e->ev.anonymous_id, device)) ||
           (e->ev.type == EVENT_ALIAS && str_has(e->ev.previous_id) && str_eq(e->ev.previous_id, device));
}

static inline void model_set_profile(struct model_event *e, const char *kind, struct str id)
{
    memcpy(e->profile, kind, 5);
    memcpy(e->profile + 5, id.p, id.n);
    e->profile_n = id.n + 5;
}

/* Whether more users than a device may have used it. */
static inline bool model_shared(const struct model *m, struct str device)
{
    struct str users[32];
    unsigned n = 0, max = identity_max_users(m->rules);

    for (size_t i = 0; i < m->n && n <= max; i++) {
        unsigned k = 0;

        if (!model_links(&m->v[i], device))
            continue;
        while (k < n && !str_eq(users[k], m->v[i].ev.user_id))
            k++;
        if (k == n)
            users[n++] = m->v[i].ev.user_id;
    }
    return n > max;
}

/* Whose each event is, by the links of events alone; `v` is in the order of events. */
static inline void model_owners(struct model *m)
{
    for (size_t i = 0; i < m->n; i++) {
        struct model_event *e = &m->v[i];
        const struct model_event *last = NULL;

        if (str_has(e->ev.user_id)) {
            model_set_profile(e, "user:", e->ev.user_id);
            continue;
        }
        for (size_t k = 0; k < m->n && (k <= i || !last); k++)
            if (model_links(&m->v[k], e->ev.anonymous_id))
                last = &m->v[k];
        if (last && !model_shared(m, e->ev.anonymous_id))
            model_set_profile(e, "user:", last->ev.user_id);
        else
            model_set_profile(e, "anon:", e->ev.anonymous_id);
    }
}

static inline struct str model_profile(const struct model_event *e)
{
    return (struct str){e->profile, e->profile_n};
}

static inline bool model_beats(const struct model_event *a, const struct model_event *b)
{
    struct event_key x = event_key(&a->ev), y = event_key(&b->ev);
    int c = event_key_cmp(&x, &y);
    struct uid p, q;

    if (c != 0)
        return c < 0;
    p = content_hash(a->bytes);
    q = content_hash(b->bytes);
    return memcmp(p.b, q.b, UID_BYTES) < 0;
}

static inline int model_cmp_uid(const void *a, const void *b)
{
    const struct model_event *x = a, *y = b;
    int c = memcmp(x->ev.uid.b, y->ev.uid.b, UID_BYTES);

    return c ? c : model_beats(x, y) ? -1 : model_beats(y, x) ? 1 : 0;
}

static inline int model_cmp_key(const void *a, const void *b)
{
    const struct model_event *x = a, *y = b;
    struct event_key p = event_key(&x->ev), q = event_key(&y->ev);

    return event_key_cmp(&p, &q);
}

/* The set of events of `n` records: of each uid the copy that stands, in the order of events. */
static inline void model_init(struct model *m, const struct log_record *records, size_t n,
                              const struct fold_rules *rules)
{
    size_t kept = 0;

    arena_init(&m->arena, SIZE_MAX);
    m->rules = rules;
    m->v = calloc(n + 1, sizeof *m->v);
    m->n = 0;
    for (size_t i = 0; i < n; i++) {
        struct model_event *e = &m->v[m->n];

        e->bytes = records[i].value;
        if (records[i].kind != LOG_KIND_EVENT || event_unpack(e->bytes, &m->arena, &e->ev) != CODEC_OK)
            continue;
        m->n++;
    }
    qsort(m->v, m->n, sizeof *m->v, model_cmp_uid);
    for (size_t i = 0; i < m->n; i++)
        if (i == 0 || memcmp(m->v[i].ev.uid.b, m->v[kept - 1].ev.uid.b, UID_BYTES) != 0)
            m->v[kept++] = m->v[i];
    m->n = kept;
    qsort(m->v, m->n, sizeof *m->v, model_cmp_key);
    model_owners(m);
}

static inline void model_deinit(struct model *m)
{
    free(m->v);
    arena_deinit(&m->arena);
}

static inline int model_decode(void *arg, const struct path_entry *entry, struct event *out)
{
    (void)arg;
    *out = ((const struct model_event *)entry->owner)->ev;
    return 0;
}

struct model_answer {
    struct path_entry *path;
    size_t path_count;
    struct order *orders;
    size_t order_count;
    struct facts facts;
};

static inline int model_cmp_orders(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    int64_t s = x->placed_at != TIME_NONE ? x->placed_at : x->statements[0]->time;
    int64_t t = y->placed_at != TIME_NONE ? y->placed_at : y->statements[0]->time;

    return s != t ? (s < t ? -1 : 1) : str_cmp(x->order_id, y->order_id);
}

static inline bool model_states(const struct model_event *e, struct str order_id)
{
    enum order_status status;

    return order_stated(&e->ev, &status) && str_eq(e->ev.order.order_id, order_id);
}

/* The order from all statements of it; false when there are none. */
static inline bool model_order(struct model *m, struct str order_id, struct order *out)
{
    const struct event **statements = calloc(m->n + 1, sizeof(*statements));
    size_t n = 0;

    for (size_t i = 0; i < m->n; i++)
        if (model_states(&m->v[i], order_id))
            statements[n++] = &m->v[i].ev;
    if (n > 0)
        assert_int_equal(order_build(statements, n, m->rules, &m->arena, out), 0);
    free(statements);
    return n > 0;
}

/* Whether an earlier event speaks of the same order: then it was built already. */
static inline bool model_order_seen(const struct model *m, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (model_states(&m->v[i], m->v[at].ev.order.order_id))
            return true;
    return false;
}

/* An order follows its best statement. */
static inline bool model_owns(const struct model *m, const struct order *o, struct str profile)
{
    for (size_t i = 0; i < m->n; i++)
        if (&m->v[i].ev == o->best)
            return str_eq(model_profile(&m->v[i]), profile);
    return false;
}

static inline void model_orders(struct model *m, struct str profile, struct model_answer *out)
{
    enum order_status status;

    out->orders = calloc(m->n + 1, sizeof *out->orders);
    for (size_t i = 0; i < m->n; i++) {
        struct order *o = &out->orders[out->order_count];

        if (!order_stated(&m->v[i].ev, &status) || model_order_seen(m, i))
            continue;
        assert_true(model_order(m, m->v[i].ev.order.order_id, o));
        out->order_count += model_owns(m, o, profile);
    }
    qsort(out->orders, out->order_count, sizeof *out->orders, model_cmp_orders);
}

/* Devices are numbered as they are met; false when there is no such profile. */
static inline bool model_answer(struct model *m, struct str profile, struct model_answer *out)
{
    struct fold_input in = {.decode = model_decode};

    *out = (struct model_answer){.path = calloc(m->n + 1, sizeof *out->path)};
    for (size_t i = 0; i < m->n; i++) {
        struct path_entry *e = &out->path[out->path_count];

        if (!str_eq(model_profile(&m->v[i]), profile))
            continue;
        *e =
            (struct path_entry){event_key(&m->v[i].ev), entry_flags(&m->v[i].ev, m->rules), 0, m->v[i].bytes, &m->v[i]};
        e->device = (uint32_t)out->path_count;
        for (size_t k = 0; k < out->path_count; k++)
            if (str_eq(((struct model_event *)out->path[k].owner)->ev.anonymous_id, m->v[i].ev.anonymous_id)) {
                e->device = out->path[k].device;
                break;
            }
        out->path_count++;
    }
    model_orders(m, profile, out);
    in.path = out->path;
    in.path_count = out->path_count;
    in.orders = out->orders;
    in.order_count = out->order_count;
    assert_int_equal(facts_fold(&in, m->rules, &out->facts), 0);
    return out->path_count > 0;
}

static inline void model_answer_free(struct model_answer *a)
{
    facts_deinit(&a->facts);
    free(a->path);
    free(a->orders);
}

/* --- comparing ------------------------------------------------------------------------------------------------ */

static inline bool same_facts(const struct facts *a, const struct facts *b)
{
    struct buf x, y;
    bool same;

    buf_init(&x, 64 * MIB);
    buf_init(&y, 64 * MIB);
    assert_true(facts_pack(a, &x) && facts_pack(b, &y));
    same = str_eq(buf_str(&x), buf_str(&y));
    buf_deinit(&x);
    buf_deinit(&y);
    return same;
}

static inline bool same_path(const struct state_view *v, const struct model_answer *want)
{
    if (v->path_count != want->path_count)
        return false;
    for (size_t i = 0; i < v->path_count; i++) {
        const struct path_entry *a = &v->path[i], *b = &want->path[i];

        if (event_key_cmp(&a->key, &b->key) != 0 || a->flags != b->flags || !str_eq(a->bytes, b->bytes))
            return false;
        for (size_t k = i > 8 ? i - 8 : 0; k < i; k++)
            if ((a->device == v->path[k].device) != (b->device == want->path[k].device))
                return false;
    }
    return true;
}

static inline bool same_order(const struct order *a, const struct order *b)
{
    bool same = str_eq(a->order_id, b->order_id) && a->statement_count == b->statement_count && a->total == b->total &&
                a->refunded == b->refunded && a->status == b->status && a->placed_at == b->placed_at;

    for (size_t i = 0; same && i < a->statement_count; i++)
        same = memcmp(a->statements[i]->uid.b, b->statements[i]->uid.b, UID_BYTES) == 0;
    return same;
}

static inline bool same_orders(const struct state_view *v, const struct model_answer *want)
{
    if (v->order_count != want->order_count)
        return false;
    for (size_t i = 0; i < v->order_count; i++)
        if (!same_order(&v->orders[i], &want->orders[i]))
            return false;
    return true;
}

/* What differs between the state and the model for one profile; NULL: nothing. */
static inline const char *profile_differs(struct state *s, uint32_t partition, struct model *m, struct str id)
{
    const char *what = NULL;
    struct model_answer want;
    struct state_profile got;
    struct state_view view;
    struct arena a;
    struct err e = {0};
    bool is = model_answer(m, id, &want);
    int rc;

    arena_init(&a, 64 * MIB);
    rc = state_view(s, partition, id, VIEW_PATH | VIEW_ORDERS, &view, &e);
    if (rc == 0) {
        if (!is)
            what = "it should not be there";
        else if (!same_path(&view, &want))
            what = "its path";
        else if (!same_orders(&view, &want))
            what = "its orders";
        state_view_free(&view);
    } else if (rc < 0) {
        what = "the view failed";
    } else if (is) {
        what = "it is not there";
    }
    if (!what && is) {
        if (state_profile(s, partition, id, &a, &got, &e) != 0) {
            what = "the look-up failed";
        } else {
            if (!same_facts(&got.facts, &want.facts))
                what = "its facts";
            facts_deinit(&got.facts);
        }
    }
    model_answer_free(&want);
    arena_deinit(&a);
    return what;
}

/* The order as its owner has it, in the view, which is the caller's then. 0, STATE_NOT_FOUND or a negative errno; fails
 * when the owner does not have it. */
static inline int find_order(struct state *s, struct str order_id, struct state_view *view, const struct order **out,
                             struct err *e)
{
    struct str owner;
    struct arena a;
    uint32_t at;
    int rc;

    *out = NULL;
    arena_init(&a, MIB);
    rc = state_order(s, state_order_partition(s, order_id), order_id, &a, &owner, e);
    if (rc == 0) {
        at = event_log_partition((struct str){owner.p + 5, owner.n - 5}, state_partitions(s));
        if (state_view(s, at, owner, VIEW_ORDERS, view, e) != 0)
            fail_msg("%.*s cannot be looked at", STR_ARG(owner));
        for (size_t i = 0; i < view->order_count; i++)
            if (str_eq(view->orders[i].order_id, order_id))
                *out = &view->orders[i];
        if (!*out)
            fail_msg("%.*s does not have the order", STR_ARG(owner));
    }
    arena_deinit(&a);
    return rc;
}

static inline const char *order_differs(struct state *s, struct model *m, struct str order_id)
{
    const char *what = NULL;
    struct state_view view;
    const struct order *got;
    struct order want = {0};
    struct err e = {0};
    bool is = model_order(m, order_id, &want);
    int rc = find_order(s, order_id, &view, &got, &e);

    if (rc != 0)
        return rc < 0 ? "the look-up of the order failed" : is ? "the order is not found" : NULL;
    if (!is)
        what = "the order should not be there";
    else if (!same_order(got, &want) || memcmp(got->best->uid.b, want.best->uid.b, UID_BYTES) != 0)
        what = "another order has the id";
    state_view_free(&view);
    return what;
}

static inline void say_line(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "verify: %s\n", line);
}

#endif
