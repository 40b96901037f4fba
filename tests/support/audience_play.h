/* Audiences beside a state that a play folds: their rows, their topic on a real embedded log, a clock that tests move,
 * and what should come out, worked out anew for everybody. */
#ifndef WAYMARK_TESTS_AUDIENCE_PLAY_H
#define WAYMARK_TESTS_AUDIENCE_PLAY_H

#include <time.h>

#include "common/json.h"
#include "profiler/audience_change.h"
#include "profiler/audiences.h"
#include "profiler/state_private.h"
#include "tests/support/person_play.h"

#define START INT64_C(1704067200000) /* 2024-01-01 */

enum { RULES = 8, PEOPLE = 12, NAME = 16, SETTLE_MS = 60000 };

/* An audience as the test knows it: `text` NULL: there is none. */
struct defined {
    char name[NAME];
    const char *text;
};

struct audience_play {
    struct play p;
    char *rows, *older, *topic; /* folders; `older`: a copy of rows, or NULL */
    struct event_log *log;
    struct stats *stats;
    struct tags *tags;
    struct zone *zone;
    struct audiences *a;
    _Atomic int64_t now;
    _Atomic bool shows;
    int64_t slow_us; /* as in audiences_options, as the next */
    size_t long_path, past_bytes;
    bool roomy; /* no profile is put out of memory */
    struct defined defined[RULES];
    int64_t said; /* time of the last definition */
    char people[PEOPLE][NAME];
    size_t person_count;
};

static const char *const tags_text = "visits:\n  values:\n    - many: pages >= 4\n    - some: pages >= 1\n"
                                     "recent:\n  type: bool\n  rule: days_since(last_seen) < 12\n";

static inline int64_t audience_now(void *arg)
{
    struct audience_play *t = arg;

    return atomic_load(&t->now);
}

static inline bool audience_shows(void *arg, uint32_t partition)
{
    struct audience_play *t = arg;

    (void)partition;
    return atomic_load(&t->shows);
}

static inline void audience_begin(struct audience_play *t)
{
    struct err e = {0};

    t->stats = stats_new();
    if (audiences_start(&(struct audiences_options){.path = t->rows,
                                                    .rules = &t->p.rules,
                                                    .log = t->log,
                                                    .state = t->p.state,
                                                    .stats = t->stats,
                                                    .tags = t->tags,
                                                    .partitions = t->p.partitions,
                                                    .shows = audience_shows,
                                                    .arg = t,
                                                    .now = audience_now,
                                                    .slow_us = t->slow_us,
                                                    .long_path = t->long_path,
                                                    .past_bytes = t->past_bytes},
                        &t->a, &e) != 0)
        fail_msg("%s", e.text);
    assert_true(audiences_tags_by(t->a) != 0); /* who asks at once gets tags, too */
}

static inline void audience_end(struct audience_play *t)
{
    audiences_stop(t->a);
    audiences_free(t->a);
    stats_free(t->stats);
    t->a = NULL;
}

static inline void audience_play_start(struct audience_play *t, uint32_t partitions)
{
    struct buf errors;

    t->zone = zone_new("Europe/London");
    assert_non_null(t->zone);
    t->p.rules.zone = t->zone;
    t->p.partitions = partitions;
    t->p.folder = folder_new();
    t->p.o = (struct state_options){.partitions = partitions,
                                    .rules = &t->p.rules,
                                    .commit_bytes = chance(50) ? 20000 : 1 << 20,
                                    .cache_bytes = t->roomy     ? 64 * MIB
                                                   : chance(50) ? 0
                                                                : 1 << 20,
                                    .keyed = true,
                                    .watch = true};
    play_open(&t->p);
    t->rows = folder_new();
    t->topic = folder_new();
    struct err e = {0};
    if (event_log_open_local(&(struct event_log_options){.path = t->topic, .partitions = partitions}, &t->log, &e) != 0)
        fail_msg("%s", e.text);
    buf_init(&errors, MIB);
    if (tags_parse("tags", str_of(tags_text), NULL, &t->tags, &errors, NULL) != 0)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    buf_deinit(&errors);
    atomic_store(&t->now, START + 60 * TIME_DAY);
    atomic_store(&t->shows, true);
    audience_begin(t);
}

static inline void audience_play_end(struct audience_play *t)
{
    audience_end(t);
    tags_unref(t->tags);
    event_log_close(t->log);
    folder_free(t->rows);
    folder_free(t->topic);
    if (t->older)
        folder_free(t->older);
    play_end(&t->p);
    zone_free(t->zone);
}

/* --- definitions ------------------------------------------------------------------------------------------------ */

static inline void audience_define(struct audience_play *t, unsigned i, const char *text)
{
    char body[512];
    struct buf b;

    t->defined[i].text = text;
    if (text) {
        buf_init(&b, KIB);
        json_write_str(&b, str_of(text));
        snprintf(body, sizeof body, "{\"rule\":%.*s}", STR_ARG(buf_str(&b)));
        buf_deinit(&b);
    }
    const struct command c = {.kind = COMMAND_DEFINE,
                              .time = START + ++t->said,
                              .definition = DEFINITION_AUDIENCE,
                              .name = str_of(t->defined[i].name),
                              .body = text ? str_of(body) : STR_NONE};
    buf_init(&b, 64 * KIB);
    assert_true(command_pack(&c, &b));
    for (uint32_t p = 0; p < t->p.partitions; p++) {
        struct test_log *l = &t->p.logs[p];

        log_add(l, buf_str(&b));
        l->v[l->n - 1].kind = LOG_KIND_COMMAND;
        l->v[l->n - 1].key = play_dup(STR_LIT("define"));
    }
    buf_deinit(&b);
}

/* --- what should be --------------------------------------------------------------------------------------------- */

struct expecting {
    struct audience_play *t;
    struct rule_subject *s;
};

static inline bool expect(struct audience_play *t, struct rule_subject *s, const char *text);

static inline bool expect_in(void *arg, struct str name)
{
    struct expecting *x = arg;

    for (unsigned i = 0; i < RULES; i++)
        if (str_eq(str_of(x->t->defined[i].name), name) && x->t->defined[i].text)
            return expect(x->t, x->s, x->t->defined[i].text);
    return false;
}

static inline bool expect(struct audience_play *t, struct rule_subject *s, const char *text)
{
    struct rule_names names = {0};
    struct rule_subject own = *s;
    struct expecting x = {t, s};
    struct rule_result result;
    struct rule_error why;
    struct rule *r;

    names.tags = tags_names(t->tags, &names.tag_count);
    if (rule_compile(str_of(text), RULE_BOOL, &names, &r, &why) != 0)
        fail_msg("%s: %s", text, why.message);
    own.events = NULL;
    own.in_audience = expect_in;
    own.arg = &x;
    assert_int_equal(rule_eval(r, &own, &result), 0);
    rule_subject_done(&own);
    rule_free(r);
    return result.value.type == RULE_BOOL && result.value.truth;
}

/* Folded anew from the path. Whether there is such a person; which of the rules mean them, NULL is none. */
static inline bool expect_rules(struct audience_play *t, struct str id, const char *const *rules, size_t n, bool *in,
                                struct buf *tags)
{
    struct rule_value values[2] = {{0}};
    struct state_view v;
    struct facts facts;
    struct traits traits;
    struct arena a;
    struct err e = {0};
    int64_t next;

    if (state_view(t->p.state, play_partition(&t->p, id), id, VIEW_PATH | VIEW_ORDERS, &v, &e) != 0)
        return false;
    arena_init(&a, 64 * MIB);
    assert_int_equal(state_view_fold_all(&v, &t->p.rules, NULL, &facts, &traits), 0);
    struct rule_subject s = {.now = atomic_load(&t->now),
                             .rules = &t->p.rules,
                             .facts = &facts,
                             .traits = &traits,
                             .path = v.path,
                             .path_count = v.path_count,
                             .orders = v.orders,
                             .order_count = v.order_count,
                             .arena = &a};
    assert_int_equal(tags_eval(t->tags, &s, values, &next), 0);
    for (size_t i = 0; i < n; i++)
        in[i] = rules[i] && expect(t, &s, rules[i]);
    assert_int_equal(tags_write_json(t->tags, values, &s, tags), 0);
    rule_subject_done(&s);
    facts_deinit(&facts);
    traits_deinit(&traits);
    arena_deinit(&a);
    state_view_free(&v);
    return true;
}

/* `in` by audience. */
static inline bool expect_person(struct audience_play *t, struct str id, bool *in, struct buf *tags)
{
    const char *rules[RULES];

    for (unsigned i = 0; i < RULES; i++)
        rules[i] = t->defined[i].text;
    return expect_rules(t, id, rules, RULES, in, tags);
}

/* --- what is ---------------------------------------------------------------------------------------------------- */

static inline void audience_settle(struct audience_play *t)
{
    int64_t until = clock_monotonic() + SETTLE_MS;

    audiences_wake(t->a);
    uint64_t moment = audiences_moment(t->a);
    while (!audiences_settled(t->a, moment)) {
        if (clock_monotonic() > until)
            fail_msg("the audiences do not settle");
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
}

/* The number behind a line of the metrics. */
static inline double audience_metric(struct audience_play *t, const char *line)
{
    struct buf b;
    const char *at;
    double v;

    buf_init(&b, MIB);
    stats_write(t->stats, &b);
    buf_add_char(&b, '\0');
    for (at = strstr(b.p, line); at && at > b.p && at[-1] != '\n'; at = strstr(at + 1, line))
        ;
    assert_non_null(at);
    v = atof(at + strlen(line));
    buf_deinit(&b);
    return v;
}

struct member_list {
    struct arena arena;
    struct str v[64];
    size_t n;
};

static inline void audience_list(struct audience_play *t, const char *name, struct member_list *l)
{
    struct audience_place place = {0, 0};
    struct err e = {0};
    struct str *ids;
    size_t n;

    l->n = 0;
    while (place.partition < t->p.partitions) {
        int rc = audiences_members(t->a, str_of(name), &place, 3, &l->arena, &ids, &n, &e);

        if (rc != 0)
            fail_msg("members of %s: %d", name, rc);
        for (size_t i = 0; i < n; i++) {
            assert_true(l->n < 64);
            l->v[l->n++] = ids[i];
        }
    }
}

static inline bool is_listed(const struct member_list *l, struct str id)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->v[i], id))
            return true;
    return false;
}

/* --- the topic -------------------------------------------------------------------------------------------------- */

/* Who is in the audience by what was published, 1, or not, 0; fails where somebody enters or leaves twice. `forgiven`:
 * an erased person leaves without a name. */
static inline int published(struct audience_play *t, const char *name, struct str id, bool forgiven)
{
    struct log_reader *reader;
    struct log_record records[64];
    uint32_t partition = play_partition(&t->p, id);
    struct err e = {0};
    struct arena a;
    int in = 0, n;

    arena_init(&a, MIB);
    assert_int_equal(log_reader_open(t->log, LOG_AUDIENCES, NULL, &reader, &e), 0);
    assert_int_equal(log_reader_seek(reader, partition, 0), 0);
    while ((n = log_reader_read(reader, partition, records, 64, MIB, &e)) > 0)
        for (int i = 0; i < n; i++) {
            struct audience_change c;

            arena_reset(&a);
            assert_int_equal(audience_change_read(records[i].value, &a, &c), 0);
            if (getenv("WAYMARK_SAY") && (str_eq(c.id, id) || !str_has(c.id)))
                fprintf(stderr, "%lld: %.*s\n", (long long)records[i].offset, STR_ARG(records[i].value));
            if (!str_is(c.audience, name) || !str_eq(c.id, id))
                continue;
            if (c.entered == in && !forgiven)
                fail_msg("%.*s %s %s twice, at %lld", STR_ARG(id), in ? "enters" : "leaves", name,
                         (long long)records[i].offset);
            in = c.entered;
        }
    assert_int_equal(n, 0);
    log_reader_close(reader);
    arena_deinit(&a);
    return in;
}

#endif
