/* Who looks at many by one reader sees of each what a view of that moment shows, whatever is folded, committed, put out
 * of memory, erased and replaced between two looks. */
#include "profiler/state_watch.h"
#include "tests/support/person_play.h"
#include "tests/support/seeds.h"

#define AT_START INT64_C(1700000000000)
enum { EVENTS = 500, USERS = 12, DEVICES = 20, ALL = USERS + DEVICES + 2, MANY = 300 };

/* By hash. The last two are nobody. */
struct somebody {
    struct key_hash hash;
    char id[16];
};

struct looking {
    struct play p;
    struct state_reader *readers[PLAY_PARTITIONS];
};

/* --- what happens ----------------------------------------------------------------------------------------------- */

static char names[ALL][8];

static void some_event(struct play *p, unsigned i)
{
    char message[32];
    struct event e;

    snprintf(message, sizeof message, "m%u", i);
    e = event_at(chance(80) ? names[USERS + below(DEVICES)] : NULL, NULL, message,
                 AT_START + (int64_t)below(4000) * TIME_MINUTE);
    if (chance(30) || !str_has(e.anonymous_id))
        e.user_id = str_of(names[below(USERS)]);
    if (chance(20)) {
        e.type = EVENT_ORDER;
        e.trust = TRUST_SERVER;
        e.order = (struct order_fields){
            .order_id = str_of(names[below(ALL)]), .status = STATUS_PAID, .total = {true, INT64_C(5000000)}};
    }
    play_event(p, &e);
}

static void erase_user(struct play *p, struct str user, unsigned nth)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    char id[64], alias[ERASURE_ALIAS_BYTES + 1];
    struct key_hash hash;
    struct buf b;

    snprintf(id, sizeof id, "user:%.*s", STR_ARG(user));
    snprintf(alias, sizeof alias, "alias-of-nr-%04u", nth % 100);
    hash = key_hash_erasure(no_key, str_of(id));
    const struct command c = {.kind = COMMAND_ERASE,
                              .user = user,
                              .until = AT_START + (int64_t)below(4000) * TIME_MINUTE,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(p, LOG_KIND_COMMAND, user, buf_str(&b));
    buf_deinit(&b);
}

static void begin_readers(struct looking *l)
{
    for (uint32_t i = 0; i < l->p.partitions; i++) {
        l->readers[i] = state_reader_new(l->p.state, i);
        assert_non_null(l->readers[i]);
    }
}

static void end_readers(struct looking *l)
{
    for (uint32_t i = 0; i < l->p.partitions; i++)
        state_reader_free(l->readers[i]);
}

static void stir(struct looking *l)
{
    uint32_t partition = below(l->p.partitions);

    if (play_has_unread(&l->p, partition))
        play_fold(&l->p, partition, 1 + below(20));
    if (chance(50))
        play_deliver(&l->p, partition, l->p.outbox[partition].n);
    if (chance(30))
        play_commit(&l->p, partition);
    if (chance(10))
        state_reader_rest(l->readers[partition]);
    if (chance(2)) {
        end_readers(l);
        play_kill(&l->p, false);
        begin_readers(l);
    }
}

/* --- what is seen ----------------------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct key_hash));
}

static size_t list_people(struct play *p, uint32_t partition, struct somebody *v)
{
    size_t n = 0;

    for (unsigned i = 0; i < ALL; i++) {
        snprintf(v[n].id, sizeof v[n].id, "%s:%.7s", i < USERS ? "user" : "anon", names[i]);
        if (play_partition(p, str_of(v[n].id)) != partition)
            continue;
        v[n].hash = state_watch_hash(p->state, partition, str_of(v[n].id));
        n++;
    }
    qsort(v, n, sizeof *v, by_hash);
    return n;
}

static void pack_profile(struct play *p, uint32_t partition, const struct state_view *v, struct buf *out)
{
    struct state_profile profile;
    struct err e = {0};
    struct arena a;

    arena_init(&a, 8 * MIB);
    int rc = str_has(v->record) ? state_view_profile(v, &a, &profile, &e)
                                : state_profile(p->state, partition, v->id, &a, &profile, &e);
    assert_int_equal(rc, 0);
    assert_int_equal(profile.version, v->version);
    assert_true(facts_pack(&profile.facts, out));
    facts_deinit(&profile.facts);
    traits_deinit(&profile.traits);
    arena_deinit(&a);
}

static void check_paths(const struct state_view *got, const struct state_view *want)
{
    assert_int_equal(got->path_count, want->path_count);
    for (size_t i = 0; i < want->path_count; i++) {
        assert_int_equal(event_key_cmp(&got->path[i].key, &want->path[i].key), 0);
        assert_int_equal(got->path[i].device, want->path[i].device);
        assert_true(str_eq(got->path[i].bytes, want->path[i].bytes));
    }
    assert_int_equal(got->order_count, want->order_count);
    for (size_t i = 0; i < want->order_count; i++)
        assert_true(str_eq(got->orders[i].order_id, want->orders[i].order_id));
}

static void check_view(struct looking *l, uint32_t partition, const struct somebody *who, unsigned what)
{
    struct state_view got, want;
    struct err e = {0};
    struct buf a, b;
    int rc = state_view(l->p.state, partition, str_of(who->id), what, &want, &e);

    assert_int_equal(state_reader_view(l->readers[partition], &who->hash, what | VIEW_RECORD, &got, &e), rc);
    if (rc != 0)
        return;
    assert_true(str_is(got.id, who->id));
    assert_int_equal(got.version, want.version);
    check_paths(&got, &want);
    buf_init(&a, MIB);
    buf_init(&b, MIB);
    pack_profile(&l->p, partition, &got, &a);
    pack_profile(&l->p, partition, &want, &b);
    assert_true(str_eq(buf_str(&a), buf_str(&b)));
    buf_deinit(&a);
    buf_deinit(&b);
    state_view_free(&got);
    state_view_free(&want);
}

/* Most in the order of hashes, and some of them not. */
static void look(struct looking *l)
{
    uint32_t partition = below(l->p.partitions);
    struct somebody v[ALL];
    size_t n = list_people(&l->p, partition, v);
    unsigned what = below(4) * VIEW_PATH; /* of path and orders */

    for (size_t i = 0; i < n; i++) {
        if (chance(70))
            check_view(l, partition, &v[chance(95) ? i : below((unsigned)n)], what);
        if (chance(10))
            stir(l);
    }
}

static void play(uint32_t partitions, uint64_t seed, uint64_t cache_bytes)
{
    struct looking l = {.p = {.rules = {.session_gap_ms = 30 * TIME_MINUTE,
                                        .currency = "GBP",
                                        .touch_window_ms = 30 * TIME_DAY,
                                        .link_by_order = true}}};

    _Static_assert(VIEW_PATH == 1 && VIEW_ORDERS == 2, "what is looked at is drawn");
    rnd_state = seed;
    play_start(&l.p, partitions, 64 * MIB, cache_bytes);
    begin_readers(&l);
    for (unsigned i = 0; i < EVENTS; i++) {
        some_event(&l.p, i);
        if (chance(1))
            erase_user(&l.p, str_of(names[below(USERS)]), i);
        if (chance(40))
            stir(&l);
        if (chance(20))
            look(&l);
    }
    end_readers(&l);
    play_finish(&l.p);
    begin_readers(&l);
    for (int i = 0; i < 20; i++)
        look(&l);
    end_readers(&l);
    play_end(&l.p);
}

static void a_reader_sees_what_a_view_shows(void **state)
{
    (void)state;
    for (uint64_t i = 0, runs = seed_runs(5); i < runs; i++) {
        uint64_t seed = seed_of(i, 1);

        play(seed % 3 ? 1 : 4, seed, seed % 2 ? 0 : 64 * MIB);
    }
    seed_now = 0;
}

/* --- step by step ----------------------------------------------------------------------------------------------- */

static void page(struct play *p, const char *device, const char *message)
{
    struct event e = event_at(device, NULL, message, AT_START);

    play_event(p, &e);
    play_fold(p, 0, SIZE_MAX);
}

static int64_t version_by(struct play *p, struct state_reader *r, const char *id)
{
    struct key_hash hash = state_watch_hash(p->state, 0, str_of(id));
    struct state_view v;
    struct err e = {0};
    int rc = state_reader_view(r, &hash, VIEW_PATH | VIEW_RECORD, &v, &e);

    if (rc == STATE_NOT_FOUND)
        return -1;
    assert_int_equal(rc, 0);
    int64_t version = v.version;
    state_view_free(&v);
    return version;
}

/* What it has taken hold of is of one that is gone. */
static void a_partition_is_replaced_under_a_reader(void **state)
{
    struct play p = {.rules = {.session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"}};
    struct state_reader *r;
    struct err e = {0};
    char path[64];

    (void)state;
    play_start(&p, 1, 64 * MIB, 0);
    page(&p, "d1", "1");
    play_commit(&p, 0);
    play_backup(&p);
    page(&p, "d2", "2");
    page(&p, "d1", "3");
    play_commit(&p, 0);
    r = state_reader_new(p.state, 0);
    assert_int_equal(version_by(&p, r, "anon:d1"), 3);
    assert_int_equal(version_by(&p, r, "anon:d2"), 2);
    snprintf(path, sizeof path, "%s/copy", p.backup);
    assert_int_equal(state_take_partition(p.state, 0, path, &e), 0);
    assert_int_equal(version_by(&p, r, "anon:d1"), 1);
    assert_int_equal(version_by(&p, r, "anon:d2"), -1);
    p.folded[0] = 1;
    play_finish(&p);
    assert_int_equal(version_by(&p, r, "anon:d1"), 3);
    assert_int_equal(version_by(&p, r, "anon:d2"), 2);
    state_reader_free(r);
    play_end(&p);
}

/* More than are passed by steps, and more than one hold of the disk is for. */
static void far_ones_are_found(void **state)
{
    struct play p = {.rules = {.session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"}};
    static struct somebody v[MANY];
    struct state_reader *r;

    (void)state;
    play_start(&p, 1, 64 * MIB, 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(v[i].id, sizeof v[i].id, "anon:w%d", i);
        page(&p, v[i].id + 5, "m");
    }
    play_commit(&p, 0);
    for (int i = 0; i < MANY; i++)
        v[i].hash = state_watch_hash(p.state, 0, str_of(v[i].id));
    qsort(v, MANY, sizeof *v, by_hash);
    r = state_reader_new(p.state, 0);
    for (int step = 1; step < MANY; step = 2 * step + 1)
        for (int i = step - 1; i < MANY; i += step)
            assert_true(version_by(&p, r, v[i].id) > 0);
    assert_int_equal(version_by(&p, r, "anon:w"), -1);
    state_reader_free(r);
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_reader_sees_what_a_view_shows, say_seed),
        cmocka_unit_test(a_partition_is_replaced_under_a_reader),
        cmocka_unit_test(far_ones_are_found),
    };

    for (unsigned i = 0; i < ALL; i++)
        snprintf(names[i], sizeof names[i], "%c%u", i < USERS ? 'u' : 'd', i);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
