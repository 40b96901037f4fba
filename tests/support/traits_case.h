/* People's traits for tests: keys in a temporary folder, the built-in vocabulary, events that state something. */
#ifndef WAYMARK_TRAITS_CASE_H
#define WAYMARK_TRAITS_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* cmocka's header needs the ones above. */
#include <cmocka.h>

#include "common/limits.h"
#include "profiler/traits.h"

struct traits_case {
    char folder[64];
    struct vocabulary *vocabulary;
    struct seal_keys *keys;
    struct traits_counters counters;
    struct traits_rules rules;
    struct arena arena; /* of sealed bytes */
};

static inline int traits_case_setup(void **state)
{
    struct traits_case *c = calloc(1, sizeof *c);
    struct buf errors;
    struct err e = {0};
    bool made;

    assert_non_null(c);
    buf_init(&errors, MIB);
    strcpy(c->folder, "/tmp/waymark-traits-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    if (seal_keys_init(c->folder, &made, &e) != 0 || seal_keys_open(c->folder, SEAL_PROFILER, &c->keys, &e) != 0)
        fail_msg("keys: %s", e.text);
    c->vocabulary = vocabulary_load(NULL, &errors);
    if (!c->vocabulary)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    c->rules = (struct traits_rules){c->vocabulary, c->keys, &c->counters};
    arena_init(&c->arena, 64 * MIB);
    buf_deinit(&errors);
    *state = c;
    return 0;
}

static inline int traits_case_teardown(void **state)
{
    static const char *const files[] = {"profiler.key", "profiler.pub", "master.key",
                                        "erasure.key",  "receipt.key",  "receipt.pub"};
    struct traits_case *c = *state;
    char path[128];

    seal_keys_free(c->keys);
    vocabulary_free(c->vocabulary);
    arena_deinit(&c->arena);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", c->folder, files[i]);
        unlink(path);
    }
    rmdir(c->folder);
    free(c);
    return 0;
}

/* An identify call at a time; its uid is made of `number`. */
static inline struct event says(int64_t time, unsigned number, const char *traits)
{
    struct event e = {.type = EVENT_IDENTIFY,
                      .trust = TRUST_SERVER,
                      .source = number % 2 ? STR_LIT("web") : STR_LIT("crm"),
                      .user_id = STR_LIT("42"),
                      .time = time,
                      .received = time,
                      .traits = str_of(traits)};

    memcpy(e.uid.b, &number, sizeof number);
    return e;
}

/* The part of an event that the collector sealed: {"traits":…}. */
static inline struct str sealed(struct traits_case *c, const char *json)
{
    struct buf b;

    buf_init(&b, MIB);
    assert_true(seal_for_profilers(c->keys, str_of(json), &b));
    struct str s = arena_dup(&c->arena, buf_str(&b));
    assert_true(str_has(s));
    buf_deinit(&b);
    return s;
}

static inline int decode_case(void *arg, const struct path_entry *entry, struct event *out)
{
    (void)arg;
    *out = *(const struct event *)entry->owner;
    return 0;
}

static inline int event_before(const void *a, const void *b)
{
    struct event_key x = event_key(a), y = event_key(b);

    return event_key_cmp(&x, &y);
}

/* The fold of n events, in whatever order they stand. */
static inline struct traits folded(const struct traits_case *c, const struct event *events, size_t n)
{
    struct event *sorted = calloc(n + 1, sizeof *sorted);
    struct path_entry *path = calloc(n + 1, sizeof *path);
    struct traits t;

    memcpy(sorted, events, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, event_before);
    for (size_t i = 0; i < n; i++)
        path[i] = (struct path_entry){.key = event_key(&sorted[i]), .owner = &sorted[i]};
    struct fold_input in = {.path = path, .path_count = n, .decode = decode_case};
    assert_int_equal(traits_fold(&in, &c->rules, NULL, &t), 0);
    free(path);
    free(sorted);
    return t;
}

/* One after the other, folding anew where a step says so; *refolds counts these. */
static inline struct traits stepped(const struct traits_case *c, const struct event *events, size_t n, size_t *refolds)
{
    struct traits t;

    traits_init(&t);
    for (size_t i = 0; i < n; i++) {
        int rc = traits_add_event(&t, &events[i], &c->rules);
        assert_true(rc == TRAITS_OK || rc == TRAITS_REFOLD);
        if (rc == TRAITS_OK)
            continue;
        traits_deinit(&t);
        t = folded(c, events, i + 1);
        if (refolds)
            ++*refolds;
    }
    return t;
}

static inline struct traits_show show_all(bool clear)
{
    return (struct traits_show){.groups = (1u << TRAIT_GROUPS) - 1, .clear = clear};
}

static inline void assert_shown(const struct traits_case *c, const struct traits *t, struct traits_show show,
                                const char *want)
{
    struct buf b;

    buf_init(&b, 16 * MIB);
    traits_write_json(t, &c->rules, &show, &b);
    assert_false(b.failed);
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, want);
    buf_deinit(&b);
}

static inline void assert_consent(const struct traits *t, const char *want)
{
    struct buf b;

    buf_init(&b, MIB);
    traits_write_consent(t, &b);
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, want);
    buf_deinit(&b);
}

/* Everything said by n events in this order is shown so, in the clear. */
static inline void assert_says(const struct traits_case *c, const struct event *events, size_t n, const char *want)
{
    struct traits a = folded(c, events, n), b = stepped(c, events, n, NULL);

    assert_shown(c, &a, show_all(true), want);
    assert_shown(c, &b, show_all(true), want);
    assert_int_equal(traits_differ(&a, &b, &c->rules), 0);
    traits_deinit(&a);
    traits_deinit(&b);
}

#endif
