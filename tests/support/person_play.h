/* One or more partitions of a log in memory, and the state that folds them: what it emits goes onto the logs before the
 * commit that holds its cause, and owners are killed, copied back and doubled on the way. */
#ifndef WAYMARK_TESTS_PERSON_PLAY_H
#define WAYMARK_TESTS_PERSON_PLAY_H

#include "profiler/traits.h"
#include "tests/support/person_oracle.h"

enum { PLAY_PARTITIONS = 16, PLAY_UNLINKS = 64 };

/* Emissions that are not on the log yet. */
struct outbox {
    struct log_record *v;
    size_t n, cap;
};

struct play {
    struct fold_rules rules;
    struct state_options o;
    char *folder, *backup; /* of the state; of a copy of it, or NULL */
    struct state *state;
    uint32_t partitions;
    struct test_log logs[PLAY_PARTITIONS];
    struct outbox outbox[PLAY_PARTITIONS];
    int64_t folded[PLAY_PARTITIONS];
    bool disturbed; /* emissions may overtake each other and come twice */
    struct oracle_unlink unlinks[PLAY_UNLINKS];
    size_t unlink_count;
    uint64_t emitted, emitted_bytes;
};

/* --- the log -------------------------------------------------------------------------------------------------- */

static inline struct str play_dup(struct str s)
{
    char *copy = malloc(s.n + 1);

    assert_non_null(copy);
    memcpy(copy, s.p, s.n);
    return (struct str){copy, s.n};
}

/* Copies all of it. */
static inline void play_append_at(struct play *p, uint32_t partition, enum log_kind kind, struct str key,
                                  struct str value)
{
    struct test_log *l = &p->logs[partition];

    log_add(l, value);
    l->v[l->n - 1].kind = kind;
    l->v[l->n - 1].key = play_dup(key);
}

static inline void play_append(struct play *p, enum log_kind kind, struct str key, struct str value)
{
    play_append_at(p, event_log_partition(key, p->partitions), kind, key, value);
}

static inline void play_event(struct play *p, struct event *e)
{
    struct buf b;

    e->uid = event_uid(e->source, e->anonymous_id, e->user_id, e->message_id);
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(e, &b));
    play_append(p, LOG_KIND_EVENT, event_log_key(e), buf_str(&b));
    buf_deinit(&b);
}

/* `device` and `user` must live as long as the play. */
static inline void play_unlink(struct play *p, struct str device, struct str user, int64_t until)
{
    const struct command c = {.kind = COMMAND_UNLINK, .time = until, .device = device, .user = user, .until = until};
    struct buf b;

    assert_true(p->unlink_count < PLAY_UNLINKS);
    p->unlinks[p->unlink_count++] = (struct oracle_unlink){device, user, until};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(p, LOG_KIND_COMMAND, device, buf_str(&b));
    buf_deinit(&b);
}

/* --- emissions ------------------------------------------------------------------------------------------------ */

static inline void outbox_add(struct outbox *box, const struct log_record *r)
{
    if (box->n == box->cap) {
        box->cap = box->cap ? 2 * box->cap : 64;
        box->v = realloc(box->v, box->cap * sizeof *box->v);
        assert_non_null(box->v);
    }
    box->v[box->n++] = (struct log_record){.kind = r->kind,
                                           .key = play_dup(r->key),
                                           .value = play_dup(r->value),
                                           .placed = r->placed,
                                           .partition = r->partition};
}

static inline void outbox_clear(struct outbox *box)
{
    for (size_t i = 0; i < box->n; i++) {
        free((void *)(uintptr_t)box->v[i].key.p);
        free((void *)(uintptr_t)box->v[i].value.p);
    }
    box->n = 0;
}

/* Puts the first `n` emissions on the log, as they come or in disorder and some twice; forgets all. */
static inline void play_deliver(struct play *p, uint32_t partition, size_t n)
{
    struct outbox *box = &p->outbox[partition];

    for (size_t i = n; p->disturbed && i > 1; i--) {
        size_t k = below((unsigned)i);
        struct log_record swap = box->v[k];

        box->v[k] = box->v[i - 1];
        box->v[i - 1] = swap;
    }
    for (size_t i = 0; i < n; i++)
        for (unsigned times = p->disturbed && chance(10) ? 2 : 1; times > 0; times--)
            play_append_at(p, log_record_partition(&box->v[i], p->partitions), box->v[i].kind, box->v[i].key,
                           box->v[i].value);
    outbox_clear(box);
}

/* What `s` has emitted since it was asked last. */
static inline void play_collect(struct play *p, struct state *s, uint32_t partition)
{
    const struct state_emission *v;
    size_t n = state_emissions(s, partition, &v);

    for (size_t i = 0; i < n; i++) {
        if (v[i].topic != LOG_EVENTS || v[i].record.kind != LOG_KIND_INTERNAL)
            fail_msg("partition %u finds a record bad", (unsigned)partition);
        assert_int_equal(log_record_partition(&v[i].record, p->partitions) == partition, v[i].record.placed);
        outbox_add(&p->outbox[partition], &v[i].record);
        p->emitted++;
        p->emitted_bytes += v[i].record.key.n + v[i].record.value.n;
    }
    state_emitted(s, partition);
}

/* --- the owner ------------------------------------------------------------------------------------------------ */

static inline struct state *play_open_at(struct play *p, const char *folder)
{
    struct state_options o = p->o;
    struct state *s;
    struct err e = {0};

    o.path = folder;
    if (state_open(&o, &s, &e) != 0)
        fail_msg("open: %s", e.text);
    return s;
}

static inline void play_open(struct play *p)
{
    p->state = play_open_at(p, p->folder);
    for (uint32_t i = 0; i < p->partitions; i++) {
        struct state_figures f;

        state_figures(p->state, i, &f);
        p->folded[i] = f.offset;
    }
}

/* `p` must be zeroed but for its rules. */
static inline void play_start(struct play *p, uint32_t partitions, uint64_t commit_bytes, uint64_t cache_bytes)
{
    p->partitions = partitions;
    p->folder = folder_new();
    p->o = (struct state_options){.partitions = partitions,
                                  .rules = &p->rules,
                                  .commit_bytes = commit_bytes,
                                  .cache_bytes = cache_bytes,
                                  .keyed = true};
    play_open(p);
}

static inline void play_end(struct play *p)
{
    state_close(p->state);
    folder_free(p->folder);
    if (p->backup)
        folder_free(p->backup);
    for (uint32_t i = 0; i < p->partitions; i++) {
        for (size_t k = 0; k < p->logs[i].n; k++)
            free((void *)(uintptr_t)p->logs[i].v[k].key.p);
        log_free(&p->logs[i]);
        outbox_clear(&p->outbox[i]);
        free(p->outbox[i].v);
    }
}

static inline void play_commit(struct play *p, uint32_t partition)
{
    struct err e = {0};

    play_deliver(p, partition, p->outbox[partition].n);
    if (state_commit(p->state, partition, &e) != 0)
        fail_msg("commit: %s", e.text);
}

static inline void play_fold(struct play *p, uint32_t partition, size_t n)
{
    size_t left = p->logs[partition].n - (size_t)p->folded[partition];
    struct err e = {0};
    int rc;

    n = n < left ? n : left;
    rc = state_fold(p->state, partition, p->logs[partition].v + p->folded[partition], n, &e);
    if (rc < 0)
        fail_msg("fold: %s", e.text);
    p->folded[partition] += (int64_t)n;
    play_collect(p, p->state, partition);
    if (rc == STATE_COMMIT_DUE)
        play_commit(p, partition);
}

static inline bool play_has_unread(const struct play *p, uint32_t partition)
{
    return (size_t)p->folded[partition] < p->logs[partition].n;
}

/* Until nothing is left to read, and on disk. */
static inline void play_finish(struct play *p)
{
    bool more = true;

    while (more) {
        more = false;
        for (uint32_t i = 0; i < p->partitions; i++) {
            if (play_has_unread(p, i))
                play_fold(p, i, SIZE_MAX);
            more = more || p->outbox[i].n > 0;
            play_deliver(p, i, p->outbox[i].n);
        }
        for (uint32_t i = 0; i < p->partitions; i++)
            more = more || play_has_unread(p, i);
    }
    for (uint32_t i = 0; i < p->partitions; i++)
        play_commit(p, i);
}

/* --- what happens to owners ----------------------------------------------------------------------------------- */

static inline void play_backup(struct play *p)
{
    char *parent = folder_new(), path[64];
    struct err e = {0};

    snprintf(path, sizeof path, "%s/copy", parent);
    if (state_copy(p->state, path, &e) != 0)
        fail_msg("copy: %s", e.text);
    if (p->backup)
        folder_free(p->backup);
    p->backup = parent;
}

/* Dies after some of what it emitted is on the log; comes back from disk, or from the backup. */
static inline void play_kill(struct play *p, bool from_backup)
{
    char path[64];

    for (uint32_t i = 0; i < p->partitions; i++)
        play_deliver(p, i, p->outbox[i].n ? below((unsigned)p->outbox[i].n + 1) : 0);
    state_close(p->state);
    if (from_backup && p->backup) {
        folder_free(p->folder);
        snprintf(path, sizeof path, "%s/copy", p->backup);
        p->folder = folder_new();
        assert_int_equal(rename(path, p->folder), 0);
        folder_free(p->backup);
        p->backup = NULL;
    }
    play_open(p);
}

/* A second owner of the partition, which does not know that there is another, reads and emits for a while. */
static inline void play_stale(struct play *p, uint32_t partition, size_t n)
{
    struct outbox own = p->outbox[partition];
    char *parent = folder_new(), path[64];
    struct state_figures f;
    struct state *stale;
    struct err e = {0};
    size_t left;

    snprintf(path, sizeof path, "%s/copy", parent);
    if (state_copy(p->state, path, &e) != 0)
        fail_msg("copy: %s", e.text);
    stale = play_open_at(p, path);
    state_figures(stale, partition, &f);
    left = p->logs[partition].n - (size_t)f.offset;
    if (left > 0 && state_fold(stale, partition, p->logs[partition].v + f.offset, n < left ? n : left, &e) < 0)
        fail_msg("fold: %s", e.text);
    p->outbox[partition] = (struct outbox){0};
    play_collect(p, stale, partition);
    play_deliver(p, partition, p->outbox[partition].n);
    free(p->outbox[partition].v);
    p->outbox[partition] = own;
    state_close(stale);
    folder_free(parent);
}

/* --- comparing ------------------------------------------------------------------------------------------------ */

/* Everything that came from outside, of all partitions; `v` is malloc'ed. */
static inline void play_oracle(struct play *p, struct oracle *o, struct log_record **v)
{
    size_t n = 0;

    for (uint32_t i = 0; i < p->partitions; i++)
        n += p->logs[i].n;
    *v = malloc((n + 1) * sizeof **v);
    assert_non_null(*v);
    n = 0;
    for (uint32_t i = 0; i < p->partitions; i++)
        for (size_t k = 0; k < p->logs[i].n; k++)
            if (p->logs[i].v[k].kind == LOG_KIND_EVENT)
                (*v)[n++] = p->logs[i].v[k];
    oracle_init(o, *v, n, &p->rules, p->unlinks, p->unlink_count);
}

static inline uint32_t play_partition(const struct play *p, struct str profile)
{
    return event_log_partition((struct str){profile.p + 5, profile.n - 5}, p->partitions);
}

static inline const char *play_ids_differ(struct oracle *o, struct str id, const struct state_profile *got)
{
    struct str user = {id.p + 5, id.n - 5};

    if (str_starts(id, STR_LIT("anon:")))
        return got->device_count ? "a device has devices" : NULL;
    for (size_t i = 0; i < got->device_count; i++)
        if (!oracle_member(o, got->devices[i], user))
            return "a device is in its ids that is not its";
    return got->device_count == oracle_members(o, user) ? NULL : "a device is missing in its ids";
}

static inline bool play_traits_differ(struct play *p, const struct traits *got, const struct model_answer *want)
{
    const struct fold_input in = {.path = want->path, .path_count = want->path_count, .decode = model_decode};
    struct traits all;
    int differ;

    if (!p->rules.traits)
        return false;
    assert_int_equal(traits_fold(&in, p->rules.traits, NULL, &all), 0);
    differ = traits_differ(got, &all, p->rules.traits);
    traits_deinit(&all);
    return differ != 0;
}

static inline const char *play_facts_differ(struct play *p, struct oracle *o, struct str id,
                                            const struct model_answer *want)
{
    struct state_profile got;
    const char *what;
    struct err e = {0};
    struct arena a;

    arena_init(&a, 64 * MIB);
    if (state_profile(p->state, play_partition(p, id), id, &a, &got, &e) != 0) {
        arena_deinit(&a);
        return "the look-up failed";
    }
    what = !same_facts(&got.facts, &want->facts)      ? "its facts"
           : play_traits_differ(p, &got.traits, want) ? "its traits"
                                                      : play_ids_differ(o, id, &got);
    facts_deinit(&got.facts);
    traits_deinit(&got.traits);
    arena_deinit(&a);
    return what;
}

/* What differs between the state and the oracle for one profile; NULL: nothing. */
static inline const char *play_differs(struct play *p, struct oracle *o, struct str id)
{
    struct model_answer want;
    struct state_view view;
    struct err e = {0};
    const char *what = NULL;
    bool is = oracle_answer(o, id, &want);
    int rc = state_view(p->state, play_partition(p, id), id, VIEW_PATH | VIEW_ORDERS | VIEW_MARKS, &view, &e);

    if (rc == 0) {
        what = !is                                 ? "it should not be there"
               : view.path_count < want.path_count ? "events are missing in its path"
               : view.path_count > want.path_count ? "there are too many events in its path"
               : !same_path(&view, &want)          ? "its path"
               : !same_orders(&view, &want)        ? "its orders"
                                                   : NULL;
        state_view_free(&view);
    } else if (is) {
        what = rc < 0 ? "the view failed" : "it is not there";
    } else if (rc < 0) {
        what = "the view failed";
    }
    if (!what && is)
        what = play_facts_differ(p, o, id, &want);
    model_answer_free(&want);
    return what;
}

/* Who a look-up of the device is sent on to. */
static inline const char *play_link_differs(struct play *p, struct oracle *o, struct str id)
{
    struct str device = {id.p + 5, id.n - 5}, want = oracle_latest_user(o, device), user;
    struct state_profile got;
    const char *what = NULL;
    struct err e = {0};
    struct arena a;
    int rc;

    arena_init(&a, MIB);
    rc = state_linked(p->state, play_partition(p, id), id, &a, &user, &e);
    if (rc < 0)
        what = "asking for its user failed";
    else if (!str_has(want) && rc == 0)
        what = "it has a user, but no link";
    else if (str_has(want) && (rc != 0 || !str_eq((struct str){user.p + 5, user.n - 5}, want)))
        what = "it is not sent on to the user of its latest link";
    else if (str_has(want) && state_profile(p->state, play_partition(p, id), id, &a, &got, &e) != STATE_LINKED)
        what = "a look-up of it does not say that it is linked";
    arena_deinit(&a);
    return what;
}

static inline void play_check(struct play *p, struct oracle *o, struct str id)
{
    const char *what = play_differs(p, o, id);

    if (!what && str_starts(id, STR_LIT("anon:")))
        what = play_link_differs(p, o, id);
    if (what)
        fail_msg("%u partitions, %.*s: %s", (unsigned)p->partitions, STR_ARG(id), what);
}

static inline void play_verify(struct play *p)
{
    struct verify_report report;
    struct err e = {0};

    for (uint32_t i = 0; i < p->partitions; i++) {
        struct state_figures f;
        uint64_t sum = 0;

        state_figures(p->state, i, &f);
        for (int k = 0; k < OUTCOMES; k++)
            sum += f.outcomes[k];
        assert_int_equal(sum, p->logs[i].n);
        assert_int_equal(f.outcomes[OUTCOME_BAD], 0);
    }
    if (state_verify(p->state, say_line, NULL, NULL, &report, &e) != 0)
        fail_msg("verify: %s", e.text);
    assert_int_equal(report.differences, 0);
}

#endif
