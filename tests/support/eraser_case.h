/* A state, an embedded log and the followers between them, and the eraser: a profiler without its doors, whose files
 * are searched for somebody. */
#ifndef WAYMARK_TESTS_ERASER_CASE_H
#define WAYMARK_TESTS_ERASER_CASE_H

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

static inline int64_t shown(void *arg, uint32_t partition)
{
    struct shop *k = arg;

    return followers_shown(k->followers, partition);
}

static inline void commit_soon(void *arg, uint32_t partition)
{
    struct shop *k = arg;

    followers_commit(k->followers, partition);
}

static inline void cleaned(void *arg)
{
    struct shop *k = arg;

    atomic_fetch_add(&k->cleaned, 1);
}

static inline void start_eraser(struct shop *k)
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

static inline void open_shop(struct shop *k)
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

static inline void close_shop(struct shop *k)
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

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
    struct shop *k = *state;

    close_shop(k);
    folder_free(k->folder);
    free(k);
    return 0;
}

/* --- records ---------------------------------------------------------------------------------------------------- */

static inline void append(struct shop *k, const struct log_record *r)
{
    assert_int_equal(event_log_append_wait(k->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, &k->partition, &k->offset), LOG_OK);
}

static inline struct event page(const char *device, const char *user, const char *url, int64_t time)
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

static inline void put(struct shop *k, struct event e)
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

static inline void put_order(struct shop *k, const char *device, const char *user, const char *order, int64_t time)
{
    struct event e = page(device, user, NULL, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order = (struct order_fields){
        .order_id = str_of(order), .status = STATUS_PAID, .total = {true, 120500000}, .currency = STR_LIT("GBP")};
    e.place = (struct place){.address = str_of("1 zqkvjwxpgone street")};
    put(k, e);
}

static inline void put_erasure(struct shop *k, const char *user, const char *device)
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
static inline void fill_shop(struct shop *k)
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

static inline bool all_shown(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        if (followers_shown(k->followers, p) < event_log_end(k->log, LOG_EVENTS, p))
            return false;
    return true;
}

static inline bool all_on_disk(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        struct state_figures f;

        state_figures(k->state, p, &f);
        if (f.disk_offset < event_log_end(k->log, LOG_EVENTS, p))
            return false;
    }
    return true;
}

static inline void write_down(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        followers_commit(k->followers, p);
    WAIT_UNTIL(all_on_disk(k));
}

static inline bool is_clean(struct shop *k)
{
    for (uint32_t p = 0; p < PARTITIONS; p++)
        if (!eraser_clean(k->eraser, p))
            return false;
    return true;
}

static inline bool is_erasing(struct shop *k)
{
    bool is = false;
    int64_t through;

    for (uint32_t p = 0; p < PARTITIONS; p++)
        is = is || state_erasing(k->state, p, &through);
    return is;
}

/* Everything is folded that a record set off, which may set off more. */
static inline void wait_shown(struct shop *k)
{
    for (int i = 0; i < 6; i++)
        WAIT_UNTIL(all_shown(k));
}

static inline unsigned search_file(const char *path)
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
static inline unsigned search(const char *folder, bool say)
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

static inline uint64_t events_of(struct shop *k, const char *id)
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
static inline void check_log(struct shop *k)
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

static inline void check_gone(struct shop *k)
{
    assert_int_equal(search(k->folder, true), 0);
    assert_int_equal(events_of(k, "user:" USER), 0);
    assert_int_equal(events_of(k, "user:" OTHER), 20);
    check_log(k);
}

#endif
