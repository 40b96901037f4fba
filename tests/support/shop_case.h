/* For the tests of copies and backups: states of a few partitions, a log for each, and what every partition must hold.
 */
#ifndef WAYMARK_TESTS_SHOP_CASE_H
#define WAYMARK_TESTS_SHOP_CASE_H

#include "tests/support/state_case.h"

enum { SHOP_PARTITIONS = 3, SHOP_IDS = 30 };

static const struct fold_rules shop_rules = {
    .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};

struct shop_for_test {
    struct test_log logs[SHOP_PARTITIONS];
};

static inline void shop_name(char *out, size_t size, const char *prefix, const char *kind, uint32_t partition,
                             unsigned number)
{
    char stem[32];

    snprintf(stem, sizeof stem, "%s%u-%u", kind, (unsigned)partition, number);
    local_name(out, size, prefix, stem, partition, SHOP_PARTITIONS);
}

/* Pages and orders of people who come again and again. */
static inline void shop_add(struct shop_for_test *shop, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t p = below(SHOP_PARTITIONS);
        struct test_log *l = &shop->logs[p];
        char who[32], device[32], message[24], order[32];
        struct event e;

        shop_name(who, sizeof who, "", "u", p, below(SHOP_IDS));
        shop_name(device, sizeof device, "", "d", p, 1);
        snprintf(message, sizeof message, "m%zu", l->n - (chance(5) && l->n > 0));
        e = event_at(chance(50) ? device : NULL, who, message, INT64_C(1700000000000) + (int64_t)l->n * TIME_MINUTE);
        e.url = STR_LIT("https://shop.example/a/long/enough/path/to/fill/some/space");
        if (chance(20)) {
            shop_name(order, sizeof order, "order:", "o", p, below(100));
            e.type = EVENT_ORDER;
            e.trust = TRUST_SERVER;
            e.order.order_id = str_of(order);
            e.order.status = (enum order_status)(1 + below(6));
            e.order.total = (struct opt){true, (1 + (int64_t)below(90)) * MICROS};
        }
        log_event(l, &e);
    }
}

static inline void shop_free(struct shop_for_test *shop)
{
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        log_free(&shop->logs[p]);
}

static inline struct state_options shop_options(const char *folder)
{
    return (struct state_options){.path = folder,
                                  .partitions = SHOP_PARTITIONS,
                                  .rules = &shop_rules,
                                  .commit_bytes = 64 * MIB,
                                  .cache_bytes = 64 * MIB};
}

static inline struct state *shop_open(const char *folder, bool read_only)
{
    struct state_options o = shop_options(folder);
    struct state *s = NULL;
    struct err e = {0};

    o.read_only = read_only;
    if (state_open(&o, &s, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

static inline int64_t shop_offset(struct state *s, uint32_t partition)
{
    struct state_figures f;

    state_figures(s, partition, &f);
    return f.offset;
}

/* Folds the log of a partition up to (not with) `end`. */
static inline void shop_fold_to(struct state *s, const struct shop_for_test *shop, uint32_t partition, size_t end)
{
    size_t at = (size_t)shop_offset(s, partition);
    struct err e = {0};

    assert_true(at <= end && end <= shop->logs[partition].n);
    while (at < end) {
        size_t n = end - at < 64 ? end - at : 64;

        if (state_fold(s, partition, shop->logs[partition].v + at, n, &e) < 0)
            fail_msg("%s", e.text);
        at += n;
    }
}

static inline void shop_commit(struct state *s, uint32_t partition)
{
    struct err e = {0};

    if (state_commit(s, partition, &e) != 0)
        fail_msg("%s", e.text);
}

static inline void shop_fold_all(struct state *s, const struct shop_for_test *shop)
{
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
        shop_fold_to(s, shop, p, shop->logs[p].n);
        shop_commit(s, p);
    }
}

/* A partition is the fold of the first `n` records of its log. */
static inline void shop_check_first(struct state *s, const struct shop_for_test *shop, uint32_t partition, size_t n)
{
    struct state_figures f;
    struct model m;

    model_init(&m, shop->logs[partition].v, n, &shop_rules);
    for (size_t i = 0; i < SHOP_IDS; i++) {
        char who[32], id[40];

        shop_name(who, sizeof who, "", "u", partition, (unsigned)i);
        snprintf(id, sizeof id, "user:%s", who);
        const char *what = profile_differs(s, partition, &m, str_of(id));
        if (what)
            fail_msg("partition %u at %zu: %s: %s", (unsigned)partition, n, id, what);
    }
    state_figures(s, partition, &f);
    assert_int_equal(f.outcomes[OUTCOME_FOLDED], m.n);
    model_deinit(&m);
}

/* That up to where it stands. */
static inline void shop_check(struct state *s, const struct shop_for_test *shop, uint32_t partition)
{
    shop_check_first(s, shop, partition, (size_t)shop_offset(s, partition));
}

/* Of a state whose changes are all on disk. */
static inline void shop_verify(struct state *s)
{
    struct verify_report report;
    struct err e = {0};

    if (state_verify(s, say_line, NULL, NULL, &report, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(report.differences, 0);
}

static inline char *path_in(const char *folder, const char *name)
{
    char text[4096];

    snprintf(text, sizeof text, "%s/%s", folder, name);
    return strdup(text);
}

#endif
