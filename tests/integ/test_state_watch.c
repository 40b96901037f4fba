/* Who watches changes keeps up with the state: a mirror that follows what is noted, walks when it is told to and
 * remembers what it knows over crashes, has in the end who is there and each one's version. */
#include <errno.h>

#include "profiler/state_watch.h"
#include "tests/support/person_play.h"

#define AT_START INT64_C(1700000000000)
enum { MIRROR_MOST = 4096, EVENTS = 700, USERS = 9, DEVICES = 12 };

/* --- a mirror ------------------------------------------------------------------------------------------------- */

struct known {
    struct key_hash hash;
    int64_t version;
    bool met;
};

/* Of one partition: what a program would keep on disk. */
struct mirror {
    struct known v[MIRROR_MOST];
    size_t n;
};

static struct mirror mirrors[PLAY_PARTITIONS];

static struct known *find_known(struct mirror *m, const struct key_hash *hash)
{
    for (size_t i = 0; i < m->n; i++)
        if (key_hash_eq(&m->v[i].hash, hash))
            return &m->v[i];
    return NULL;
}

static void set_known(struct mirror *m, const struct key_hash *hash, int64_t version)
{
    struct known *k = find_known(m, hash);

    if (!k) {
        assert_true(m->n < MIRROR_MOST);
        k = &m->v[m->n++];
        *k = (struct known){.hash = *hash};
    }
    k->version = version;
}

static void drop_known(struct mirror *m, const struct key_hash *hash)
{
    struct known *k = find_known(m, hash);

    if (k)
        *k = m->v[--m->n];
}

/* Its version, or -1: it is nobody. */
static int64_t version_now(struct state *s, uint32_t partition, struct str id)
{
    struct state_profile p;
    struct err e = {0};
    struct arena a;
    int rc;

    arena_init(&a, 8 * MIB);
    rc = state_profile(s, partition, id, &a, &p, &e);
    arena_deinit(&a);
    if (rc < 0)
        fail_msg("%.*s: %s", STR_ARG(id), e.text);
    if (rc > 0)
        return -1;
    facts_deinit(&p.facts);
    traits_deinit(&p.traits);
    return p.version;
}

struct walking {
    struct state *s;
    uint32_t partition;
    struct mirror *m;
    struct key_hash last;
    size_t n;
    int64_t stop_at; /* after so many; -1: never */
};

static int walked(void *arg, const struct key_hash *hash, struct str id, int64_t version)
{
    struct walking *w = arg;
    struct key_hash is = state_watch_hash(w->s, w->partition, id);
    int64_t now = version_now(w->s, w->partition, id);

    assert_true(key_hash_eq(&is, hash));
    assert_true(w->n == 0 || memcmp(w->last.b, hash->b, sizeof hash->b) < 0);
    w->last = *hash;
    w->n++;
    if (now >= version) {
        set_known(w->m, hash, now);
        find_known(w->m, hash)->met = true;
    }
    return w->stop_at >= 0 && (int64_t)w->n >= w->stop_at ? 77 : 0;
}

static void walk_all(struct state *s, uint32_t partition, struct mirror *m)
{
    struct walking w = {.s = s, .partition = partition, .m = m, .stop_at = -1};
    struct err e = {0};

    for (size_t i = 0; i < m->n; i++)
        m->v[i].met = false;
    assert_int_equal(state_watch_walk(s, partition, NULL, walked, &w, &e), 0);
    for (size_t i = m->n; i-- > 0;)
        if (!m->v[i].met)
            m->v[i] = m->v[--m->n];
}

/* What a program that follows does when it is woken. */
static void follow(struct state *s, uint32_t partition)
{
    struct mirror *m = &mirrors[partition];
    struct state_changed *v;
    struct arena a;
    bool all;
    size_t n;

    arena_init(&a, 64 * MIB);
    assert_int_equal(state_watch_take(s, partition, &a, &v, &n, &all), 0);
    if (all)
        walk_all(s, partition, m);
    for (size_t i = 0; i < n; i++) {
        int64_t version = version_now(s, partition, v[i].id);

        if (version < 0)
            drop_known(m, &v[i].hash);
        else
            set_known(m, &v[i].hash, version);
    }
    arena_deinit(&a);
}

/* --- a shop --------------------------------------------------------------------------------------------------- */

static char ids[USERS + DEVICES][8];

static struct event random_event(unsigned i)
{
    static char message[32];
    unsigned user = below(USERS), device = below(DEVICES);
    struct event e;

    snprintf(message, sizeof message, "m%u", i);
    e = event_at(chance(80) ? ids[USERS + device] : NULL, NULL, message, AT_START + (int64_t)below(400) * TIME_MINUTE);
    if (chance(30) || !str_has(e.anonymous_id))
        e.user_id = str_of(ids[user]);
    if (chance(15)) {
        e.type = EVENT_ORDER;
        e.trust = TRUST_SERVER;
        e.order = (struct order_fields){
            .order_id = str_of(ids[below(USERS + DEVICES)]), .status = STATUS_PAID, .total = {true, INT64_C(5000000)}};
    }
    return e;
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
                              .until = AT_START + (int64_t)below(400) * TIME_MINUTE,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(p, LOG_KIND_COMMAND, user, buf_str(&b));
    buf_deinit(&b);
}

/* A kill leaves the mirror as it is; the state goes back to what is on disk, whose hashes are the partition's once it
 * was committed. */
static void stir(struct play *p)
{
    uint32_t partition = below(p->partitions);

    if (play_has_unread(p, partition))
        play_fold(p, partition, 1 + below(20));
    if (chance(50))
        play_deliver(p, partition, p->outbox[partition].n);
    if (chance(15))
        play_commit(p, partition);
    if (chance(30))
        follow(p->state, partition);
    if (chance(3))
        play_kill(p, false);
    if (chance(1) && p->backup)
        play_kill(p, true);
    else if (chance(2))
        play_backup(p);
}

struct counting {
    size_t n;
};

static int count_one(void *arg, const struct key_hash *hash, struct str id, int64_t version)
{
    struct counting *c = arg;

    (void)hash;
    (void)id;
    (void)version;
    c->n++;
    return 0;
}

static void check_mirror(struct play *p, uint32_t partition)
{
    struct counting there = {0};
    struct mirror *m = &mirrors[partition];
    struct err e = {0};
    size_t n = 0;

    assert_int_equal(state_watch_walk(p->state, partition, NULL, count_one, &there, &e), 0);
    for (unsigned i = 0; i < USERS + DEVICES; i++) {
        char id[256];
        struct key_hash hash;
        struct known *k;
        int64_t version;

        snprintf(id, sizeof id, "%s:%s", i < USERS ? "user" : "anon", ids[i]);
        if (play_partition(p, str_of(id)) != partition)
            continue;
        hash = state_watch_hash(p->state, partition, str_of(id));
        version = version_now(p->state, partition, str_of(id));
        k = find_known(m, &hash);
        if ((version >= 0) != (k != NULL) || (k && k->version != version))
            fail_msg("%s has version %lld, the mirror %lld", id, (long long)version, k ? (long long)k->version : -1);
        n += k != NULL;
    }
    assert_int_equal(m->n, n);
    assert_int_equal(there.n, n);
}

static void a_mirror_keeps_up(uint32_t partitions, uint64_t seed, uint64_t cache_bytes)
{
    struct play p = {.rules = {.session_gap_ms = 30 * TIME_MINUTE,
                               .currency = "GBP",
                               .touch_window_ms = 30 * TIME_DAY,
                               .link_by_order = true}};

    rnd_state = seed;
    memset(mirrors, 0, sizeof mirrors);
    play_start(&p, partitions, 64 * MIB, cache_bytes);
    state_close(p.state);
    p.o.watch = true;
    p.o.watch_bytes = chance(50) ? 200 : 0;
    play_open(&p);
    for (uint32_t i = 0; i < partitions; i++)
        play_commit(&p, i);
    for (unsigned i = 0; i < EVENTS; i++) {
        struct event e = random_event(i);

        play_event(&p, &e);
        if (chance(1))
            erase_user(&p, str_of(ids[below(USERS)]), i);
        if (chance(40))
            stir(&p);
    }
    play_finish(&p);
    for (uint32_t i = 0; i < partitions; i++) {
        follow(p.state, i);
        check_mirror(&p, i);
    }
    play_end(&p);
}

static void mirrors_keep_up(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        a_mirror_keeps_up(1, seed, seed % 2 ? 64 * MIB : 0);
        a_mirror_keeps_up(4, seed, seed % 2 ? 0 : 64 * MIB);
    }
    a_mirror_keeps_up(16, 7, 0);
}

/* --- step by step --------------------------------------------------------------------------------------------- */

struct spot {
    struct play p;
    struct arena a;
    struct state_changed *v;
    size_t n;
    bool all;
};

static void spot_init(struct spot *t)
{
    *t = (struct spot){.p = {.rules = {.session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"}}};
    play_start(&t->p, 1, 512 * MIB, 512 * MIB);
    state_close(t->p.state);
    t->p.o.watch = true;
    t->p.o.watch_bytes = 8 * KIB;
    play_open(&t->p);
    arena_init(&t->a, 512 * MIB);
}

static void spot_free(struct spot *t)
{
    arena_deinit(&t->a);
    play_end(&t->p);
}

static void take(struct spot *t)
{
    arena_reset(&t->a);
    assert_int_equal(state_watch_take(t->p.state, 0, &t->a, &t->v, &t->n, &t->all), 0);
}

static void page(struct spot *t, const char *device, const char *message)
{
    struct event e = event_at(device, NULL, message, AT_START);

    play_event(&t->p, &e);
    play_fold(&t->p, 0, SIZE_MAX);
}

static void each_is_noted_once_until_it_is_taken(void **state)
{
    struct spot t;

    (void)state;
    spot_init(&t);
    take(&t);
    assert_true(t.all && t.n == 0);
    take(&t);
    assert_true(!t.all && t.n == 0);
    page(&t, "d1", "1");
    page(&t, "d1", "2");
    page(&t, "d2", "3");
    page(&t, "d2", "3"); /* a copy changes nobody */
    take(&t);
    assert_true(!t.all && t.n == 2);
    assert_true(str_is(t.v[0].id, "anon:d1") && str_is(t.v[1].id, "anon:d2"));
    play_commit(&t.p, 0);
    take(&t);
    assert_true(!t.all && t.n == 0);
    page(&t, "d1", "4");
    take(&t);
    assert_true(t.n == 1 && str_is(t.v[0].id, "anon:d1"));
    spot_free(&t);
}

static void too_many_are_told_once_they_are_on_disk(void **state)
{
    char device[16];
    struct counting there = {0};
    struct err e = {0};
    struct spot t;
    size_t n = 500;

    (void)state;
    spot_init(&t);
    take(&t);
    for (size_t i = 0; i < n; i++) {
        snprintf(device, sizeof device, "many%zu", i);
        page(&t, device, "m");
    }
    take(&t);
    assert_false(t.all); /* the disk does not have them */
    assert_true(t.n > 100 && t.n < 300);
    play_commit(&t.p, 0);
    take(&t);
    assert_true(t.all);
    take(&t);
    assert_false(t.all);
    assert_int_equal(state_watch_walk(t.p.state, 0, NULL, count_one, &there, &e), 0);
    assert_int_equal(there.n, n);
    page(&t, "again", "1"); /* there is room */
    take(&t);
    assert_true(!t.all && t.n == 1);
    spot_free(&t);
}

/* Who lost what follows from notes finds everybody on disk, once they are there. */
static void what_was_taken_is_told_again(void **state)
{
    struct counting there = {0};
    struct err e = {0};
    struct spot t;

    (void)state;
    spot_init(&t);
    take(&t);
    page(&t, "d1", "1");
    take(&t);
    assert_int_equal(t.n, 1);
    state_watch_again(t.p.state, 0);
    take(&t);
    assert_true(!t.all && t.n == 0); /* the disk does not have it */
    play_commit(&t.p, 0);
    take(&t);
    assert_true(t.all);
    assert_int_equal(state_watch_walk(t.p.state, 0, NULL, count_one, &there, &e), 0);
    assert_int_equal(there.n, 1);
    take(&t);
    assert_false(t.all);
    state_watch_again(t.p.state, 0);
    take(&t);
    assert_true(t.all);
    spot_free(&t);
}

static void without_memory_all_are_to_be_looked_at(void **state)
{
    struct state_changed *v;
    struct arena small;
    struct spot t;
    size_t n;
    bool all;

    (void)state;
    spot_init(&t);
    take(&t);
    page(&t, "d1", "1");
    arena_init(&small, 1);
    assert_int_equal(state_watch_take(t.p.state, 0, &small, &v, &n, &all), -ENOMEM);
    take(&t);
    assert_true(!t.all && t.n == 0);
    play_commit(&t.p, 0);
    take(&t);
    assert_true(t.all);
    play_commit(&t.p, 0);
    assert_int_equal(state_watch_take(t.p.state, 0, &small, &v, &n, &all), -ENOMEM);
    take(&t);
    assert_true(t.all); /* nothing was noted, so all are on disk */
    arena_deinit(&small);
    spot_free(&t);
}

static void another_partition_is_to_be_walked(void **state)
{
    char path[64];
    struct err e = {0};
    struct spot t;

    (void)state;
    spot_init(&t);
    page(&t, "d1", "1");
    play_commit(&t.p, 0);
    play_backup(&t.p);
    page(&t, "d2", "2");
    play_commit(&t.p, 0);
    take(&t);
    snprintf(path, sizeof path, "%s/copy", t.p.backup);
    assert_int_equal(state_take_partition(t.p.state, 0, path, &e), 0);
    t.p.folded[0] = 1;
    take(&t);
    assert_true(t.all && t.n == 0);
    take(&t);
    assert_false(t.all);
    spot_free(&t);
}

static void a_walk_goes_on_behind_a_hash(void **state)
{
    struct walking all = {.stop_at = -1}, first = {.stop_at = 400}, rest = {.stop_at = -1};
    static struct mirror m;
    struct err e = {0};
    struct spot t;
    char device[16];

    (void)state;
    m.n = 0;
    spot_init(&t);
    for (int i = 0; i < 1100; i++) {
        snprintf(device, sizeof device, "w%d", i);
        page(&t, device, "m");
    }
    play_commit(&t.p, 0);
    all.s = first.s = rest.s = t.p.state;
    all.m = first.m = rest.m = &m;
    assert_int_equal(state_watch_walk(t.p.state, 0, NULL, walked, &all, &e), 0);
    assert_int_equal(all.n, 1100);
    m.n = 0;
    assert_int_equal(state_watch_walk(t.p.state, 0, NULL, walked, &first, &e), 77);
    assert_int_equal(first.n, 400);
    assert_int_equal(state_watch_walk(t.p.state, 0, &first.last, walked, &rest, &e), 0);
    assert_int_equal(rest.n, 700);
    assert_int_equal(m.n, 1100);
    spot_free(&t);
}

static int found(struct spot *t, const char *id, struct str *name, int64_t *version)
{
    struct key_hash hash = state_watch_hash(t->p.state, 0, str_of(id));
    struct err e = {0};

    arena_reset(&t->a);
    return state_watch_find(t->p.state, 0, &hash, &t->a, name, version, &e);
}

static void one_is_found_by_its_hash(void **state)
{
    struct event link = event_at("d1", "u1", "2", AT_START);
    struct spot t;
    struct str id;
    int64_t version;

    (void)state;
    spot_init(&t);
    page(&t, "d1", "1");
    page(&t, "d2", "1");
    for (int round = 0; round < 3; round++) {
        assert_int_equal(found(&t, "anon:d1", &id, &version), 0);
        assert_true(str_is(id, "anon:d1") && version == 1);
        assert_int_equal(found(&t, "anon:d3", &id, &version), STATE_NOT_FOUND);
        play_commit(&t.p, 0);
        if (round == 1)
            play_kill(&t.p, false);
    }
    play_event(&t.p, &link);
    play_finish(&t.p);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(found(&t, "anon:d1", &id, &version), STATE_NOT_FOUND); /* its user's */
        assert_int_equal(found(&t, "user:u1", &id, &version), 0);
        assert_true(str_is(id, "user:u1") && version == 3);
        play_kill(&t.p, false);
    }
    spot_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mirrors_keep_up),
        cmocka_unit_test(each_is_noted_once_until_it_is_taken),
        cmocka_unit_test(too_many_are_told_once_they_are_on_disk),
        cmocka_unit_test(what_was_taken_is_told_again),
        cmocka_unit_test(without_memory_all_are_to_be_looked_at),
        cmocka_unit_test(another_partition_is_to_be_walked),
        cmocka_unit_test(a_walk_goes_on_behind_a_hash),
        cmocka_unit_test(one_is_found_by_its_hash),
    };

    for (unsigned i = 0; i < USERS + DEVICES; i++)
        snprintf(ids[i], sizeof ids[i], "%c%u", i < USERS ? 'u' : 'd', i);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
