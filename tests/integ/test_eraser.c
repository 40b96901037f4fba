/* What was erased is in no file: a state, an embedded log and the followers between them, and the eraser; the files are
 * searched. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/event_log.h"
#include "profiler/eraser.h"
#include "profiler/follower.h"
#include "proto/internal.h"
#include "tests/support/cache_case.h"
#include "tests/support/state_case.h"

#define PARTITIONS 4
#define T0 INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define UNTIL (T0 + 1000000)

/* No word of another text, and nothing that is in it by chance. */
#define USER "u-zqkvjwxpgone"
#define ALONE "d-zqkvjwxpgone"
#define DEVICE "d-handset" /* stays: who may have it next is not who was erased */
#define PAGE "https://shop.example/zqkvjwxpgone"
static const char *const traces[] = {"zqkvjwxpgone"};
#define OTHER "u-neighbour"

struct shop {
    char *folder, log_path[96], state_path[96];
    struct fold_rules rules;
    struct event_log *log;
    struct state *state;
    struct followers *followers;
    struct eraser *eraser;
    struct cache *cache;
    struct stats *stats;
    int64_t late_ms;
    unsigned sent;
    _Atomic unsigned cleaned;
    uint32_t partition; /* of the record put last, */
    int64_t offset;     /* and its place */
};

/* --- a profiler without its doors ------------------------------------------------------------------------------- */

static int64_t shown(void *arg, uint32_t partition)
{
    struct shop *k = arg;

    return followers_shown(k->followers, partition);
}

static void commit_soon(void *arg, uint32_t partition)
{
    struct shop *k = arg;

    followers_commit(k->followers, partition);
}

static void cleaned(void *arg)
{
    struct shop *k = arg;

    atomic_fetch_add(&k->cleaned, 1);
}

static void start_eraser(struct shop *k)
{
    const struct eraser_options o = {.log = k->log,
                                     .state = k->state,
                                     .cache = k->cache,
                                     .stats = k->stats,
                                     .partitions = PARTITIONS,
                                     .late_ms = k->late_ms,
                                     .shown = shown,
                                     .commit = commit_soon,
                                     .cleaned = cleaned,
                                     .arg = k};
    struct err e = {0};

    if (eraser_start(&o, &k->eraser, &e) != 0)
        fail_msg("%s", e.text);
}

static void open_shop(struct shop *k)
{
    const struct event_log_options lo = {.path = k->log_path, .partitions = PARTITIONS};
    const struct state_options so = {.path = k->state_path,
                                     .partitions = PARTITIONS,
                                     .rules = &k->rules,
                                     .commit_bytes = 64 * MIB,
                                     .cache_bytes = MIB,
                                     .view_bytes = LIMIT_VIEWS_BYTES,
                                     .keyed = true};
    struct err e = {0};

    k->stats = stats_new();
    if (event_log_open_local(&lo, &k->log, &e) != 0 || state_open(&so, &k->state, &e) != 0)
        fail_msg("%s", e.text);
    const struct followers_options fo = {.log = k->log,
                                         .state = k->state,
                                         .partitions = PARTITIONS,
                                         .threads = 2,
                                         .commit_ms = TIME_HOUR,
                                         .rules = &k->rules};
    if (followers_start(&fo, &k->followers, &e) != 0)
        fail_msg("%s", e.text);
}

static void close_shop(struct shop *k)
{
    eraser_stop(k->eraser);
    assert_int_equal(followers_finish(k->followers, CASE_WAIT_MS), 0);
    stats_free(k->stats);
    eraser_free(k->eraser);
    followers_free(k->followers);
    state_close(k->state);
    event_log_close(k->log);
    k->eraser = NULL;
}

static int setup(void **state)
{
    struct shop *k = calloc(1, sizeof *k);

    k->folder = folder_new();
    snprintf(k->log_path, sizeof k->log_path, "%s/log", k->folder);
    snprintf(k->state_path, sizeof k->state_path, "%s/state", k->folder);
    k->rules = (struct fold_rules){.session_gap_ms = 1800000, .currency = "GBP", .link_by_order = true};
    open_shop(k);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    struct shop *k = *state;

    close_shop(k);
    folder_free(k->folder);
    free(k);
    return 0;
}

/* --- records ---------------------------------------------------------------------------------------------------- */

static void append(struct shop *k, const struct log_record *r)
{
    assert_int_equal(event_log_append_wait(k->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, &k->partition, &k->offset), LOG_OK);
}

static struct event page(const char *device, const char *user, const char *url, int64_t time)
{
    return (struct event){.type = EVENT_PAGE,
                          .trust = TRUST_BEACON,
                          .source = STR_LIT("web"),
                          .anonymous_id = str_of(device),
                          .user_id = str_of(user),
                          .url = str_of(url),
                          .time = time,
                          .received = time,
                          .original_time = TIME_NONE,
                          .sent = TIME_NONE};
}

static void put(struct shop *k, struct event e)
{
    char mid[32];
    struct buf b;

    snprintf(mid, sizeof mid, "m%u", ++k->sent);
    e.message_id = str_of(mid);
    e.position = k->sent;
    e.uid = event_uid(e.source, e.anonymous_id, e.user_id, e.message_id);
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(&e, &b));
    append(k, &(struct log_record){.kind = LOG_KIND_EVENT, .key = event_log_key(&e), .value = buf_str(&b)});
    buf_deinit(&b);
}

static void put_order(struct shop *k, const char *device, const char *user, const char *order, int64_t time)
{
    struct event e = page(device, user, NULL, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order = (struct order_fields){
        .order_id = str_of(order), .status = STATUS_PAID, .total = {true, 120500000}, .currency = STR_LIT("GBP")};
    e.place = (struct place){.address = str_of("1 zqkvjwxpgone street")};
    put(k, e);
}

static void put_erasure(struct shop *k, const char *user, const char *device)
{
    static const unsigned char key[ERASURE_KEY_BYTES];
    char id[128];

    snprintf(id, sizeof id, "%s%s", user ? "user:" : "anon:", user ? user : device);
    struct key_hash hash = key_hash_erasure(key, str_of(id));
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = UNTIL,
                              .user = str_of(user),
                              .device = str_of(device),
                              .until = UNTIL,
                              .hash = {(const char *)hash.b, sizeof hash.b},
                              .alias = STR_LIT("\1\2\3\4\5\6\7\1\2\3\4\5\6\7\1\2")};
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(command_pack(&c, &b));
    append(k,
           &(struct log_record){.kind = LOG_KIND_COMMAND, .key = str_of(user ? user : device), .value = buf_str(&b)});
    buf_deinit(&b);
}

/* Somebody with a device, who bought something, and somebody else. */
static void fill_shop(struct shop *k)
{
    for (int i = 0; i < 20; i++)
        put(k, page(DEVICE, NULL, PAGE "/before", T0 + i));
    for (int i = 0; i < 20; i++)
        put(k, page(DEVICE, USER, PAGE "/known", T0 + 100 + i));
    put_order(k, DEVICE, USER, "order-1", T0 + 200);
    for (int i = 0; i < 20; i++)
        put(k, page(DEVICE, NULL, PAGE "/after", T0 + 300 + i));
    for (int i = 0; i < 20; i++)
        put(k, page("d-neighbour", OTHER, "https://shop.example/neighbour", T0 + 400 + i));
}

/* --- looking ---------------------------------------------------------------------------------------------------- */

static bool all_shown(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        if (followers_shown(k->followers, p) < event_log_end(k->log, LOG_EVENTS, p))
            return false;
    return true;
}

static bool all_on_disk(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct state_figures f;

        state_figures(k->state, p, &f);
        if (f.disk_offset < event_log_end(k->log, LOG_EVENTS, p))
            return false;
    }
    return true;
}

static void write_down(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        followers_commit(k->followers, p);
    WAIT_UNTIL(all_on_disk(k));
}

static bool is_clean(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        if (!eraser_clean(k->eraser, p))
            return false;
    return true;
}

static bool is_erasing(struct shop *k)
{
    bool is = false;
    int64_t through;

    for (uint32_t p = 0; p < PARTITIONS; p++)
        is = is || state_erasing(k->state, p, &through);
    return is;
}

/* Everything is folded that a record set off, which may set off more. */
static void wait_shown(struct shop *k)
{
    for (int i = 0; i < 6; i++)
        WAIT_UNTIL(all_shown(k));
}

static unsigned search_file(const char *path)
{
    FILE *f = fopen(path, "r");
    unsigned found = 0;
    long n;

    if (!f)
        return 0; /* removed meanwhile */
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    rewind(f);
    char *all = malloc((size_t)n + 1);
    n = (long)fread(all, 1, (size_t)n, f);
    fclose(f);
    for (size_t i = 0; i < sizeof traces / sizeof *traces; i++)
        found += memmem(all, (size_t)n, traces[i], strlen(traces[i])) != NULL;
    free(all);
    return found;
}

/* How many files have a trace of the person. */
static unsigned search(const char *folder, bool say)
{
    DIR *d = opendir(folder);
    const struct dirent *one;
    unsigned found = 0;

    assert_non_null(d);
    while ((one = readdir(d))) {
        char path[512];

        if (one->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, one->d_name);
        unsigned here = one->d_type == DT_DIR ? search(path, say) : search_file(path);
        if (here && say && one->d_type != DT_DIR)
            print_message("there is a trace in %s\n", path);
        found += here;
    }
    closedir(d);
    return found;
}

static uint64_t events_of(struct shop *k, const char *id)
{
    struct state_profile p;
    struct arena a;
    struct err e = {0};
    uint64_t n = 0;

    arena_init(&a, MIB);
    int rc = state_profile(k->state, event_log_partition(str_of(id + 5), PARTITIONS), str_of(id), &a, &p, &e);
    assert_true(rc >= 0);
    if (rc == 0) {
        n = p.facts.events;
        facts_deinit(&p.facts);
        traits_deinit(&p.traits);
    }
    arena_deinit(&a);
    return n;
}

/* The log can be read from end to end, and no offset is missing. */
static void check_log(struct shop *k)
{
    struct log_reader *r;
    struct log_record records[64];
    struct err e = {0};

    assert_int_equal(log_reader_open(k->log, LOG_EVENTS, NULL, &r, &e), 0);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        int64_t next = 0;
        int n;

        assert_int_equal(log_reader_seek(r, p, 0), 0);
        while ((n = log_reader_read(r, p, records, 64, MIB, &e)) > 0)
            for (int i = 0; i < n; i++)
                assert_int_equal(records[i].offset, next++);
        assert_int_equal(n, 0);
        assert_int_equal(next, event_log_end(k->log, LOG_EVENTS, p));
    }
    log_reader_close(r);
}

static void check_gone(struct shop *k)
{
    assert_int_equal(search(k->folder, true), 0);
    assert_int_equal(events_of(k, "user:" USER), 0);
    assert_int_equal(events_of(k, "user:" OTHER), 20);
    check_log(k);
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void a_user_is_in_no_file(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    wait_shown(k);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        followers_commit(k->followers, p);
    assert_true(search(k->folder, false) > 0); /* the search finds what is there */
    start_eraser(k);
    int64_t began = clock_monotonic();
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    print_message("clean after %lld ms\n", (long long)(clock_monotonic() - began));
    assert_true(atomic_load(&k->cleaned) > 0);
    check_gone(k);
    close_shop(k);
    assert_int_equal(search(k->folder, true), 0); /* what is written at the end */
    open_shop(k);
    start_eraser(k);
    WAIT_UNTIL(all_shown(k) && is_clean(k)); /* what was not known on disk yet is done again */
    check_gone(k);
}

static void a_device_is_in_no_file(void **state)
{
    struct shop *k = *state;

    for (int i = 0; i < 20; i++)
        put(k, page(ALONE, NULL, PAGE, T0 + i));
    put(k, page(NULL, OTHER, "https://shop.example/neighbour", T0));
    start_eraser(k);
    put_erasure(k, NULL, ALONE);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
    assert_int_equal(events_of(k, "anon:" ALONE), 0);
    assert_int_equal(events_of(k, "user:" OTHER), 1);
    check_log(k);
}

/* The program ended before anything was cleaned. */
static void it_is_done_after_a_restart(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    assert_true(is_erasing(k));
    close_shop(k);
    assert_true(search(k->folder, false) > 0);
    open_shop(k);
    assert_true(is_erasing(k));
    start_eraser(k);
    WAIT_UNTIL(is_clean(k));
    check_gone(k);
}

/* Refused as erased when it is folded, it stands on the log all the same. */
static void what_comes_late_goes_too(void **state)
{
    struct shop *k = *state;

    k->late_ms = 50;
    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    put(k, page(NULL, USER, PAGE "/late", T0 + 7));
    WAIT_UNTIL(search(k->folder, false) == 0);
    check_gone(k);
}

/* A life after keeps its events, through the next erasure of somebody else. */
static void a_later_life_stays(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    put(k, page(NULL, USER, "https://shop.example/again", UNTIL + 5));
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(events_of(k, "user:" USER), 1);
    put_erasure(k, OTHER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(events_of(k, "user:" USER), 1);
    assert_int_equal(events_of(k, "user:" OTHER), 0);
    check_log(k);
}

static void events_come_meanwhile(void **state)
{
    struct shop *k = *state;
    uint64_t n = 0;

    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    while (!is_clean(k) && n < 100000) {
        put(k, page(NULL, "u-other", "https://shop.example/meanwhile", T0 + (int64_t)n));
        n++;
    }
    WAIT_UNTIL(is_clean(k));
    wait_shown(k);
    assert_int_equal(events_of(k, "user:u-other"), n);
    check_gone(k);
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

struct sold {
    char owner[64];
    int64_t placed_at;
    money total;
    size_t statements;
};

static void take_order(struct shop *k, struct str owner, const char *id, struct sold *out)
{
    struct state_view v;
    struct err e = {0};
    struct str key = {owner.p + 5, owner.n - 5};

    assert_int_equal(
        state_view(k->state, event_log_partition(key, PARTITIONS), owner, VIEW_ORDERS | VIEW_NOBODY, &v, &e), 0);
    for (size_t i = 0; i < v.order_count; i++)
        if (str_is(v.orders[i].order_id, id)) {
            out->placed_at = v.orders[i].placed_at;
            out->total = v.orders[i].total;
            out->statements = v.orders[i].statement_count;
        }
    state_view_free(&v);
}

static struct sold sold(struct shop *k, const char *id)
{
    struct sold out;
    struct str owner;
    struct arena a;
    struct err e = {0};

    memset(&out, 0, sizeof out);
    arena_init(&a, MIB);
    assert_int_equal(state_order(k->state, state_order_partition(k->state, str_of(id)), str_of(id), &a, &owner, &e), 0);
    snprintf(out.owner, sizeof out.owner, "%.*s", STR_ARG(owner));
    take_order(k, owner, id, &out);
    arena_deinit(&a);
    return out;
}

static void put_shipped(struct shop *k, const char *user, const char *order, int64_t time)
{
    struct event e = page(NULL, user, NULL, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order = (struct order_fields){.order_id = str_of(order), .status = STATUS_SHIPPED};
    put(k, e);
}

/* A guest's, which is known to be theirs by another statement, and one that a neighbour speaks of, too. */
static void fill_orders(struct shop *k)
{
    put_order(k, "order:order-2", NULL, "order-2", T0 + 500);
    put_order(k, NULL, USER, "order-2", T0 + 510);
    put_order(k, NULL, USER, "order-3", T0 + 600);
    put_shipped(k, OTHER, "order-3", T0 + 610);
}

/* While its home learns that they are erased it names them, after the erasure. */
static void an_order_on_its_way_names_nobody(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    fill_orders(k);
    wait_shown(k);
    assert_string_equal(sold(k, "order-2").owner, "user:" USER);
    write_down(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
    check_log(k);
}

/* Their statement of an order that is a neighbour's, in a partition where nothing else is theirs. */
static void a_neighbours_order_has_no_trace(void **state)
{
    struct shop *k = *state;
    char neighbour[16];
    unsigned n = 0;

    do
        snprintf(neighbour, sizeof neighbour, "u-next-%u", n++);
    while (event_log_partition(str_of(neighbour), PARTITIONS) == event_log_partition(STR_LIT(USER), PARTITIONS) ||
           event_log_partition(str_of(neighbour), PARTITIONS) == state_order_partition(k->state, STR_LIT("order-6")));
    put_order(k, NULL, USER, "order-6", T0);
    put_shipped(k, neighbour, "order-6", T0 + 10);
    wait_shown(k);
    write_down(k);
    assert_true(search(k->state_path, false) > 0);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
}

/* The cleaned log gives the same orders as the state had, to nobody. */
static void amounts_survive_folding_anew(void **state)
{
    static const char *const ids[] = {"order-1", "order-2", "order-3"};
    struct shop *k = *state;
    struct sold before[3];

    fill_shop(k);
    fill_orders(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    for (size_t i = 0; i < 3; i++)
        before[i] = sold(k, ids[i]);
    assert_string_equal(before[0].owner, "anon:order:order-1");
    assert_true(before[0].total == 120500000 && before[0].placed_at == T0 + 200);
    assert_string_equal(before[1].owner, "anon:order:order-2");
    assert_string_equal(before[2].owner, "user:" OTHER);
    assert_int_equal(before[2].placed_at, T0 + 600);
    close_shop(k);
    folder_free(strdup(k->state_path));
    open_shop(k);
    start_eraser(k);
    wait_shown(k);
    for (size_t i = 0; i < 3; i++) {
        struct sold now = sold(k, ids[i]);

        assert_memory_equal(&now, &before[i], sizeof now);
    }
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
    assert_int_equal(events_of(k, "user:" USER), 0);
}

/* --- with Redis ------------------------------------------------------------------------------------------------- */

static void the_cache_has_no_copy(void **state)
{
    struct shop *k = *state;
    struct cache_case c;

    cache_case_begin(&c);
    k->cache = c.c;
    redis_case_do(&c.redis, "SET", "wm:profile:user:" USER, "x");
    redis_case_do(&c.redis, "SET", "wm:profile:user:" OTHER, "x");
    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" USER), "0");
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" OTHER), "1");
    check_gone(k);
    eraser_stop(k->eraser);
    cache_case_end(&c);
}

/* Nothing is called clean while it may have a copy; what else there is to do is done. */
static void redis_is_away(void **state)
{
    struct shop *k = *state;
    struct cache_case c;

    cache_case_begin(&c);
    redis_case_do(&c.redis, "SET", "wm:profile:user:" USER, "x");
    fill_shop(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    close_shop(k); /* and whose copies there are is not known any more, but by the log */
    atomic_store(&c.proxy.refuse, true);
    atomic_store(&c.proxy.cut, 2);
    WAIT_UNTIL(!cache_is_up(c.c));
    k->cache = c.c;
    open_shop(k);
    start_eraser(k);
    WAIT_UNTIL(link_told(c.c, &c.c->writer.link, "") && search(k->state_path, false) == 0);
    assert_false(is_clean(k));
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" USER), "1");
    atomic_store(&c.proxy.refuse, false);
    WAIT_UNTIL(is_clean(k));
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" USER), "0");
    check_gone(k);
    eraser_stop(k->eraser);
    cache_case_end(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_user_is_in_no_file),
                                       TEST(a_device_is_in_no_file),
                                       TEST(it_is_done_after_a_restart),
                                       TEST(what_comes_late_goes_too),
                                       TEST(a_later_life_stays),
                                       TEST(events_come_meanwhile),
                                       TEST(an_order_on_its_way_names_nobody),
                                       TEST(amounts_survive_folding_anew),
                                       TEST(a_neighbours_order_has_no_trace),
                                       TEST(the_cache_has_no_copy),
                                       TEST(redis_is_away)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
