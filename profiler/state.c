/* The owner of a state: opens its store and partitions, checks what it was made with, gives figures. Opening and
 * closing on one thread; figures on any. */
#include "profiler/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

const char *const outcome_names[OUTCOMES] = {"folded", "duplicate", "bad", "excluded", "expired", "erased", "moved"};

/* Years whose hours are compared where two zones have one name. */
#define ZONE_FROM INT64_C(946684800000)
#define ZONE_TO INT64_C(2051222400000)

/* --- what the state was made with ----------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    return (h ^ v) * UINT64_C(0x100000001b3) ^ (h >> 29);
}

/* Two zones are one when their hours are: the name may be an alias, and rules change under a name. */
static uint64_t zone_print(const struct zone *z)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    int64_t before = INT64_MIN;

    if (!z)
        return 0;
    for (int64_t t = ZONE_FROM; t < ZONE_TO; t += TIME_HOUR) {
        int64_t offset = zone_offset(z, t);

        if (offset != before)
            h = mix(mix(h, (uint64_t)t), (uint64_t)offset);
        before = offset;
    }
    /* A zone that is always UTC is no zone. */
    return h == mix(mix(UINT64_C(0xcbf29ce484222325), (uint64_t)ZONE_FROM), 0) ? 0 : h;
}

static uint64_t hosts_print(const struct fold_rules *r)
{
    uint64_t sum = r->payment_host_count;

    for (size_t i = 0; i < r->payment_host_count; i++) {
        uint64_t h = UINT64_C(0xcbf29ce484222325);

        for (const char *p = r->payment_hosts[i]; *p; p++)
            h = mix(h, (unsigned char)*p);
        sum += h; /* in any order */
    }
    return sum;
}

/* A line for each setting that the state depends on: a name that people know, a space, the value. */
static void write_settings(const struct state_options *o, struct buf *b)
{
    const struct fold_rules *r = o->rules;
    char text[1024];

    snprintf(text, sizeof text,
             "format %d\npartitions %u\nprofiler.session_gap %" PRId64 "ms\nprofiler.orders_count_from %s\n"
             "currency %s\ntimezone %016" PRIx64 "\nthe touch window %" PRId64 "ms\nthe payment hosts %016" PRIx64 "\n"
             "the names of a map %zu\nprofiler.identity.link_by_order %s\n"
             "profiler.identity.max_users_per_device %u\nprofiler.identity.max_devices_per_user %u\n"
             "the events of a device %zu\ntraits %016" PRIx64 "\n",
             STATE_FORMAT, (unsigned)o->partitions, r->session_gap_ms, r->count_from_paid ? "paid" : "created",
             r->currency, zone_print(r->zone), r->touch_window_ms, hosts_print(r),
             r->map_names ? r->map_names : (size_t)LIMIT_MAP_NAMES, r->link_by_order ? "true" : "false",
             identity_max_users(r), identity_max_devices(r), identity_max_events(r),
             r->traits ? vocabulary_print(r->traits->vocabulary) : 0);
    buf_add_text(b, text);
}

static struct str next_line(struct str *s)
{
    const char *end = s->n ? memchr(s->p, '\n', s->n) : NULL;
    struct str line = {s->p, end ? (size_t)(end - s->p) : s->n};

    s->p += end ? line.n + 1 : s->n;
    s->n -= end ? line.n + 1 : s->n;
    return line;
}

static struct str cut_value(struct str *line)
{
    size_t n = line->n;
    struct str value;

    while (n > 0 && line->p[n - 1] != ' ')
        n--;
    value = (struct str){line->p + n, line->n - n};
    line->n = n > 0 ? n - 1 : 0;
    return value;
}

bool made_with_equal(struct str made, struct str now, struct str *name, struct str *was, struct str *is)
{
    while (made.n || now.n) {
        struct str before = next_line(&made);

        *name = next_line(&now);
        if (str_eq(before, *name))
            continue;
        *was = cut_value(&before);
        *is = cut_value(name);
        if (str_is(*name, "timezone") || str_is(*name, "the payment hosts") || str_is(*name, "traits"))
            *was = *is = STR_NONE;
        return false;
    }
    return true;
}

/* Names the first setting that differs. */
static int compare_settings(const struct state_options *o, struct str made, struct str now, struct err *e)
{
    struct str name, was, is;

    if (made_with_equal(made, now, &name, &was, &is))
        return 0;
    bool plain = str_has(is);
    err_set(e,
            "the state in %s was made with another value of %.*s%s%.*s%s%.*s%s: set it back, or remove the folder "
            "to have the state rebuilt from the log",
            o->path, STR_ARG(name), plain ? " (" : "", STR_ARG(was), plain ? ", now " : "", STR_ARG(is),
            plain ? ")" : "");
    return -EINVAL;
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static int create(struct state *s, struct str settings, struct err *e)
{
    struct store_batch *b = store_batch_new(STORE_SHARED);
    int rc;

    if (!b)
        return -ENOMEM;
    store_batch_put(b, str_of(STATE_MADE_WITH), settings);
    rc = store_write(s->store, b, e);
    store_batch_free(b);
    return rc;
}

static int check_or_create(struct state *s, const struct state_options *o, struct err *e)
{
    struct store_value v = {0};
    struct buf b;
    int rc;

    buf_init(&b, 4096);
    write_settings(o, &b);
    rc = b.failed ? -ENOMEM : store_get(s->store, STORE_SHARED, str_of(STATE_MADE_WITH), NULL, &v, e);
    if (rc == 0)
        rc = compare_settings(o, v.bytes, buf_str(&b), e);
    else if (rc == STORE_NOT_FOUND)
        rc = o->read_only ? damaged(e, "what it was made with") : create(s, buf_str(&b), e);
    store_value_free(&v);
    buf_deinit(&b);
    return rc < 0 || o->read_only ? rc : store_make_families(s->store, e);
}

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static int open_all(struct state *s, const struct state_options *o, struct err *e)
{
    struct store_options so = {
        .path = o->path,
        .partitions = o->partitions,
        .block_cache_bytes = clamp(o->cache_bytes * o->partitions / 4, 16 * MIB, 512 * MIB),
        .read_only = o->read_only,
    };
    int rc = store_open(&so, &s->store, e);

    if (rc == 0)
        rc = check_or_create(s, o, e);
    for (uint32_t i = 0; i < o->partitions && rc == 0; i++)
        rc = partition_init(&s->partitions[i], s, i, e);
    return rc;
}

int state_open(const struct state_options *o, struct state **out, struct err *e)
{
    struct state *s;
    int rc;

    assert(o->partitions > 0 && o->partitions <= LIMIT_PARTITIONS);
    if (sodium_init() < 0)
        return -EIO;
    s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->rules = o->rules;
    s->commit_bytes = o->commit_bytes;
    s->cache_bytes = o->cache_bytes;
    s->view_bytes = o->view_bytes;
    s->partition_count = o->partitions;
    s->read_only = o->read_only;
    s->keyed = o->keyed;
    s->announce = o->announce;
    s->watch = o->watch;
    s->watch_bytes = o->watch_bytes ? o->watch_bytes : LIMIT_WATCH_BYTES;
    randombytes_buf(&s->seed, sizeof s->seed);
    s->partitions = calloc(o->partitions, sizeof *s->partitions);
    rc = s->partitions ? open_all(s, o, e) : -ENOMEM;
    if (rc < 0) {
        state_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void state_close(struct state *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; s->partitions && i < s->partition_count; i++)
        partition_deinit(&s->partitions[i]);
    store_close(s->store);
    free(s->partitions);
    free(s);
}

/* --- figures -------------------------------------------------------------------------------------------------- */

void state_begin_at(struct state *s, uint32_t partition, int64_t offset)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count && p->commit == 0 && p->figures.offset == p->figures.began);
    pthread_mutex_lock(&p->lock);
    p->figures.offset = p->figures.disk_offset = p->figures.began = offset;
    pthread_mutex_unlock(&p->lock);
}

bool state_last_event(struct state *s, uint32_t partition, int64_t *offset, struct uid *uid)
{
    const struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count);
    if (p->last_offset < 0)
        return false;
    *offset = p->last_offset;
    *uid = p->last_uid;
    return true;
}

uint32_t state_partitions(const struct state *s)
{
    return s->partition_count;
}

void state_figures(struct state *s, uint32_t partition, struct state_figures *out)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count);
    pthread_mutex_lock(&p->lock);
    *out = p->figures;
    out->memory = p->memory + p->interval->held + p->batch_held + table_bytes(&p->streams) + table_bytes(&p->profiles) +
                  table_bytes(&p->orders) + table_bytes(&p->devices) + table_bytes(&p->accounts) +
                  table_bytes(&p->order_homes) + table_bytes(&p->statements);
    pthread_mutex_unlock(&p->lock);
}
