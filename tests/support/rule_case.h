/* A person made of events, as rules see them, for the tests of evaluating rules. */
#ifndef WAYMARK_TESTS_RULE_CASE_H
#define WAYMARK_TESTS_RULE_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka's header needs the ones above. */
#include <cmocka.h>

#include "common/limits.h"
#include "profiler/rule.h"
#include "profiler/rule_eval.h"
#include "profiler/rule_number.h"
#include "proto/codec.h"

#define RULE_EVENTS 256
#define DAY TIME_DAY

struct rule_person {
    struct fold_rules rules;
    struct event events[RULE_EVENTS];
    struct item items[RULE_EVENTS];
    size_t n;
    struct arena arena;
    struct path_entry *path;
    struct order *orders;
    size_t order_count;
    struct facts facts;
    struct rule_cuts cuts;
    const struct traits *traits;
    bool made;
};

static inline int64_t at_time(const char *iso)
{
    int64_t ms;

    assert_int_equal(time_parse(str_of(iso), &ms), 0);
    return ms;
}

static inline struct rule_person *person_new(void)
{
    struct rule_person *p = calloc(1, sizeof *p);

    assert_non_null(p);
    p->rules =
        (struct fold_rules){.session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};
    p->cuts.made_at = TIME_NONE;
    arena_init(&p->arena, 256 * MIB);
    return p;
}

static inline void person_unmake(struct rule_person *p)
{
    if (p->made)
        facts_deinit(&p->facts);
    p->made = false;
    arena_reset(&p->arena);
}

static inline void person_free(struct rule_person *p)
{
    person_unmake(p);
    arena_deinit(&p->arena);
    free(p);
}

/* An event of the person with an item of its own, to be filled by the caller. */
static inline struct event *person_event(struct rule_person *p, enum event_type type, const char *name, int64_t time)
{
    struct event *e = &p->events[p->n];
    uint64_t number = p->n;

    assert_true(p->n < RULE_EVENTS && !p->made);
    p->items[p->n] = (struct item){.listed_at = TIME_NONE};
    *e = (struct event){.type = type,
                        .trust = TRUST_SERVER,
                        .name = str_of(name),
                        .source = STR_LIT("web"),
                        .anonymous_id = STR_LIT("d"),
                        .time = time,
                        .received = time,
                        .original_time = TIME_NONE,
                        .sent = TIME_NONE};
    memcpy(e->uid.b, &number, sizeof number);
    p->n++;
    return e;
}

static inline struct item *person_item(struct rule_person *p, struct event *e)
{
    struct item *it = &p->items[e - p->events];

    e->items = it;
    e->item_count = 1;
    return it;
}

static inline struct event *person_view(struct rule_person *p, int64_t time, const char *color)
{
    struct event *e = person_event(p, EVENT_TRACK, "Product Viewed", time);

    person_item(p, e)->color = str_of(color);
    return e;
}

/* A statement of an order log. */
static inline struct event *person_states(struct rule_person *p, const char *order, enum order_status status,
                                          int64_t time, int64_t total)
{
    struct event *e = person_event(p, EVENT_ORDER, NULL, time);

    e->order.order_id = str_of(order);
    e->order.status = status;
    e->order.total = (struct opt){total > 0, total * MICROS};
    return e;
}

static inline struct event *person_refund(struct rule_person *p, const char *order, int64_t time, int64_t amount)
{
    struct event *e = person_states(p, order, STATUS_REFUNDED, time, 0);

    e->order.has_refund = true;
    e->order.refund_amount = (struct opt){true, amount * MICROS};
    return e;
}

static inline int person_decode(void *arg, const struct path_entry *entry, struct event *out)
{
    struct rule_person *p = arg;

    return event_unpack(entry->bytes, &p->arena, out);
}

static inline void person_make_path(struct rule_person *p)
{
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    p->path = arena_zalloc(&p->arena, (p->n + 1) * sizeof *p->path);
    for (size_t i = 0; i < p->n; i++) {
        buf_reset(&b);
        assert_true(event_pack(&p->events[i], &b));
        p->path[i] = (struct path_entry){.key = event_key(&p->events[i]),
                                         .flags = entry_flags(&p->events[i], &p->rules),
                                         .bytes = arena_dup(&p->arena, buf_str(&b))};
    }
    qsort(p->path, p->n, sizeof *p->path, path_entry_cmp);
    buf_deinit(&b);
}

static inline void person_make_orders(struct rule_person *p)
{
    bool done[RULE_EVENTS] = {false};

    p->orders = arena_zalloc(&p->arena, (p->n + 1) * sizeof *p->orders);
    p->order_count = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct event *statements[RULE_EVENTS];
        size_t n = 0;

        for (size_t k = i; k < p->n; k++) {
            enum order_status status;

            if (done[k] || !order_stated(&p->events[k], &status) ||
                !str_eq(p->events[k].order.order_id, p->events[i].order.order_id))
                continue;
            done[k] = true;
            statements[n++] = &p->events[k];
        }
        if (n > 0)
            assert_int_equal(order_build(statements, n, &p->rules, &p->arena, &p->orders[p->order_count++]), 0);
    }
    if (p->order_count > 1)
        qsort(p->orders, p->order_count, sizeof *p->orders, order_cmp);
}

static inline void person_make(struct rule_person *p)
{
    struct fold_input in = {.decode = person_decode, .arg = p};

    if (p->made)
        return;
    person_make_path(p);
    person_make_orders(p);
    in.path = p->path;
    in.path_count = p->n;
    in.orders = p->orders;
    in.order_count = p->order_count;
    assert_int_equal(facts_fold(&in, &p->rules, &p->facts), 0);
    p->made = true;
}

static inline struct rule_subject person_subject(struct rule_person *p, int64_t now)
{
    person_make(p);
    return (struct rule_subject){.now = now,
                                 .rules = &p->rules,
                                 .facts = &p->facts,
                                 .traits = p->traits,
                                 .path = p->path,
                                 .path_count = p->n,
                                 .orders = p->orders,
                                 .order_count = p->order_count,
                                 .cuts = &p->cuts,
                                 .arena = &p->arena};
}

static inline struct rule *rule_of_text(const struct rule_person *p, const char *text)
{
    struct rule_names names = {.traits = p->rules.traits ? p->rules.traits->vocabulary : NULL};
    struct rule_error err;
    struct rule *r = NULL;

    if (rule_compile(str_of(text), RULE_ANY, &names, &r, &err) != 0)
        fail_msg("%s: %u:%u: %s", text, err.line, err.column, err.message);
    return r;
}

/* The value as JSON, in a buffer that the next call uses again; and when it may change. */
static inline const char *value_at(struct rule_person *p, int64_t now, const char *text, int64_t *next)
{
    static char out[4096];
    struct rule_subject s = person_subject(p, now);
    struct rule *r = rule_of_text(p, text);
    struct rule_result result;
    struct buf b;

    buf_init(&b, sizeof out);
    assert_int_equal(rule_eval(r, &s, &result), 0);
    rule_value_write(&result.value, &b);
    assert_true(!b.failed && b.n < sizeof out);
    memcpy(out, b.p, b.n);
    out[b.n] = '\0';
    if (next)
        *next = result.next_change;
    assert_true(result.next_change == TIME_NONE || result.next_change > now);
    rule_subject_done(&s);
    rule_free(r);
    buf_deinit(&b);
    return out;
}

#define assert_value(p, now, text, want)                                                                               \
    do {                                                                                                               \
        const char *got_ = value_at(p, now, text, NULL);                                                               \
        if (strcmp(got_, want) != 0)                                                                                   \
            fail_msg("%s is %s, not %s", text, got_, want);                                                            \
    } while (0)

/* The rule has one value up to a moment and another from then on, and says so from wherever it is asked. */
#define assert_flips(p, from, at, text, before, behind)                                                                \
    do {                                                                                                               \
        int64_t next_;                                                                                                 \
        assert_value(p, from, text, before);                                                                           \
        value_at(p, from, text, &next_);                                                                               \
        if (next_ != (at))                                                                                             \
            fail_msg("%s flips at %+lld, not %+lld ms", text, (long long)(next_ - (from)),                             \
                     (long long)((at) - (from)));                                                                      \
        assert_value(p, (at)-1, text, before);                                                                         \
        assert_value(p, at, text, behind);                                                                             \
    } while (0)

#define assert_stays(p, from, text, want)                                                                              \
    do {                                                                                                               \
        int64_t next_;                                                                                                 \
        assert_value(p, from, text, want);                                                                             \
        value_at(p, from, text, &next_);                                                                               \
        if (next_ != TIME_NONE)                                                                                        \
            fail_msg("%s changes in %lld ms", text, (long long)(next_ - (from)));                                      \
    } while (0)

#endif
