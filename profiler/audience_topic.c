/* LOG_AUDIENCES read back: what was published and is in no row yet, and the ids of those whose profiles are gone. The
 * judging thread; it may wait for the log, a few seconds at most. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/audience_inside.h"

#define READ_BATCH 256
#define ASK_MS 2000
#define SILENT_MS 2000
#define NOW_DUE 1 /* a moment long gone */
#define LATE_RETRY_MS 500
#define LATE_MS (LIMIT_KAFKA_MS + 3000) /* an append has met its fate by then */

struct reading {
    struct audiences *a;
    struct crowd *p;
    int (*take)(struct reading *r, const struct audience_change *c, struct err *e);
    struct arena arena;
    bool *wanted; /* by number, of find_gone */
    bool gap;     /* the topic begins behind where it was to be read from */
};

static int take_records(struct reading *r, const struct log_record *records, size_t n, struct err *e)
{
    struct audience_change c;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (records[i].kind != LOG_KIND_CHANGE)
            continue;
        arena_reset(&r->arena);
        rc = audience_change_read(records[i].value, &r->arena, &c);
        if (rc == 0 && str_has(c.id))
            rc = r->take(r, &c, e);
        if (rc > 0)
            rc = 0; /* it is none of ours */
    }
    return rc;
}

static int read_to(struct reading *r, struct log_reader *reader, int64_t next, int64_t end, struct err *e)
{
    struct log_record *records = calloc(READ_BATCH, sizeof *records);
    int64_t until = clock_monotonic() + SILENT_MS;
    int rc = records ? 0 : -ENOMEM;

    while (rc == 0 && next < end) {
        int n = log_reader_read(reader, r->p->number, records, READ_BATCH, MIB, e);

        if (n > 0) {
            rc = take_records(r, records, (size_t)n, e);
            next = records[n - 1].offset + 1;
            until = clock_monotonic() + SILENT_MS;
        } else if ((n < 0 && n != -EAGAIN) || clock_monotonic() > until) {
            rc = n < 0 ? n : -EAGAIN;
        } else {
            log_reader_wait(reader, &r->p->number, 1, 50);
        }
    }
    free(records);
    return rc;
}

/* From `from`, or where the topic begins if that is later, to the end that it has now. */
static int read_from(struct reading *r, int64_t from, int64_t *end, struct err *e)
{
    struct event_log *log = r->a->o.log;
    uint32_t number = r->p->number;
    struct log_reader *reader;
    int rc = event_log_ask_ends(log, LOG_AUDIENCES, &number, 1, ASK_MS, end, e);

    if (rc != 0)
        return rc;
    if (from >= *end) {
        /* The topic was made again where it is shorter than it was. */
        return 0;
    }
    rc = log_reader_open(log, LOG_AUDIENCES, NULL, &reader, e);
    if (rc != 0)
        return rc;
    rc = log_reader_seek(reader, number, from);
    if (rc == LOG_READ_GAP) {
        r->gap = true;
        from = event_log_begin(log, LOG_AUDIENCES, number);
        rc = log_reader_seek(reader, number, from);
    }
    arena_init(&r->arena, 16 * MIB);
    rc = rc == LOG_READ_GAP ? -EAGAIN : rc == 0 ? read_to(r, reader, from, *end, e) : rc;
    arena_deinit(&r->arena);
    log_reader_close(reader);
    return rc;
}

/* --- what the rows do not know --------------------------------------------------------------------------------- */

static int read_row(struct reading *r, uint32_t number, struct row *row, struct err *e)
{
    struct str bytes;
    int rc = row_store_get(r->a->rows, r->p->number, &r->p->people.v[number].hash, &r->arena, &bytes, e);

    if (rc == 0)
        rc = row_unpack(bytes, &r->arena, row);
    if (rc > 0)
        *row = (struct row){.number = number, .version = -1, .due = TIME_NONE, .more_tags = STR_LIT("")};
    return rc < 0 ? rc : 0;
}

/* By the rule that stands. */
static bool is_by_rule(const struct audiences *a, const struct audience_change *c)
{
    size_t at = world_find(a->world, c->audience);

    return at != SIZE_MAX && a->world->v[at].version == c->rule_version;
}

/* The row as it was, with the one set more or less, and what else the record says: of which profile that is true, and
 * whether by these rules. Due at once, since nobody judged them here. */
static int change_row(struct reading *r, const struct row *was, struct row *now, uint32_t set,
                      const struct audience_change *c)
{
    size_t n = 0;

    *now = *was;
    now->due = NOW_DUE;
    if (was->version < 0)
        now->world = r->a->world->id;
    if (!is_by_rule(r->a, c))
        now->world = 0;
    if (now->version < c->version)
        now->version = c->version;
    now->in = arena_alloc(&r->arena, (was->in_count + 1) * sizeof *now->in);
    if (!now->in)
        return -ENOMEM;
    for (size_t i = 0; i < was->in_count && was->in[i].set < set; i++)
        now->in[n++] = was->in[i];
    if (c->entered)
        now->in[n++] = (struct membership){set, c->entered_at == TIME_NONE ? c->time : c->entered_at};
    for (size_t i = 0; i < was->in_count; i++)
        if (was->in[i].set > set)
            now->in[n++] = was->in[i];
    now->in_count = n;
    return 0;
}

static int take_change(struct reading *r, const struct audience_change *c, struct err *e)
{
    struct crowd *p = r->p;
    struct key_hash hash = state_watch_hash(r->a->o.state, p->number, c->id);
    uint32_t set = sets_make(r->a, 'a', c->audience, STR_NONE), number = people_find(&p->people, &hash);
    struct row was, now;
    struct buf out;
    int rc;

    if (set == UINT32_MAX || (number == PERSON_NONE && !c->entered))
        return 0;
    pthread_rwlock_wrlock(&r->a->lock);
    if (number == PERSON_NONE)
        number = people_add(&p->people, &hash, PERSON_NONE);
    rc = read_row(r, number, &was, e);
    if (rc == 0)
        rc = change_row(r, &was, &now, set, c);
    buf_init(&out, MIB);
    if (rc == 0 && !row_pack(&now, &out))
        rc = -ENOMEM;
    if (rc == 0) {
        crowd_drop_row(p, number, &was);
        crowd_put_row(p, number, &now);
        p->people.v[number].world = 0;
        p->people.v[number].version = now.version;
        people_set_due(&p->people, number, now.due);
        row_store_put(r->a->rows, p->number, &hash, buf_str(&out));
        p->dirty = true;
    }
    buf_deinit(&out);
    pthread_rwlock_unlock(&r->a->lock);
    return rc;
}

int crowd_read_topic(struct audiences *a, struct crowd *p, struct err *e)
{
    struct reading r = {.a = a, .p = p, .take = take_change};
    int64_t end;
    int rc = read_from(&r, p->place, &end, e);

    if (rc != 0)
        return rc;
    if (end != p->place)
        crowd_lap(p);
    p->dirty = p->dirty || end != p->place;
    p->compare = p->compare || end != p->place; /* whose profile is gone by now is found by that */
    p->place = p->next = end;
    p->unread = p->gap = false;
    p->blind = p->blind || (r.gap && p->bare);
    if (r.gap && !p->bare)
        log_warn("audiences: partition %u: its topic of changes does not go back to what its rows know: what others "
                 "published "
                 "between is not known",
                 p->number);
    return 0;
}

/* --- what comes late ------------------------------------------------------------------------------------------- */

/* Then again, and again, until nothing can be under way any more. */
static int64_t next_late(const struct crowd *p, int64_t now)
{
    int64_t since = now - p->came_at;

    return since >= LATE_MS ? 0 : p->came_at + (2 * since < LATE_MS ? 2 * since : LATE_MS);
}

void crowds_ask_late(struct audiences *a)
{
    uint32_t numbers[LIMIT_PARTITIONS];
    int64_t ends[LIMIT_PARTITIONS], now = clock_monotonic();
    struct err e = {0};
    size_t n = 0;

    if (!needs_topic(a) || !event_log_shared(a->o.log))
        return;
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];

        if (p->here && !p->unread && p->late_at != 0 && now >= p->late_at)
            numbers[n++] = i;
    }
    int rc = n > 0 ? event_log_ask_ends(a->o.log, LOG_AUDIENCES, numbers, n, ASK_MS, ends, &e) : 0;
    for (size_t i = 0; i < n; i++) {
        struct crowd *p = &a->parts[numbers[i]];

        p->unread = rc == 0 && ends[i] != p->place;
        p->late_at = rc == 0 ? next_late(p, now) : now + LATE_RETRY_MS;
    }
}

/* --- whose profiles are gone ----------------------------------------------------------------------------------- */

static int by_hash(const void *a, const void *b)
{
    return memcmp(((const struct gone_id *)a)->hash.b, ((const struct gone_id *)b)->hash.b, KEY_HASH_BYTES);
}

static int take_gone(struct reading *r, const struct audience_change *c, struct err *e)
{
    struct crowd *p = r->p;
    struct key_hash hash = state_watch_hash(r->a->o.state, p->number, c->id);
    uint32_t number = people_find(&p->people, &hash);
    struct gone_id *v;

    (void)e;
    if (number == PERSON_NONE || !r->wanted[number])
        return 0;
    r->wanted[number] = false;
    v = realloc(p->gone_ids, (p->gone_id_n + 1) * sizeof *v);
    if (!v)
        return -ENOMEM;
    p->gone_ids = v;
    v[p->gone_id_n] = (struct gone_id){hash, {malloc(c->id.n + 1), c->id.n}};
    if (!v[p->gone_id_n].id.p)
        return -ENOMEM;
    memcpy((char *)v[p->gone_id_n].id.p, c->id.p, c->id.n);
    p->gone_id_n++;
    return 0;
}

/* Who was erased since the start may stand on the topic no more. */
static int take_erased(struct reading *r)
{
    size_t n;
    struct str *ids = state_erased_profiles(r->a->o.state, r->p->number, &n);
    int rc = n == SIZE_MAX ? -ENOMEM : 0;

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = take_gone(r, &(struct audience_change){.id = ids[i]}, NULL);
    free(ids);
    return rc;
}

static bool is_member(const struct audiences *a, const struct crowd *p, uint32_t number)
{
    for (uint32_t i = 0; i < p->set_cap; i++)
        if (str_has(set_audience(&a->sets, i)) && bits_has(p->sets[i], number))
            return true;
    return false;
}

int crowd_find_gone(struct audiences *a, struct crowd *p, struct err *e)
{
    struct reading r = {.a = a, .p = p, .take = take_gone, .wanted = calloc(p->people.n + 1, sizeof(bool))};
    int64_t end;

    bool any = false;
    int rc = 0;

    if (!r.wanted)
        return -ENOMEM;
    for (uint32_t i = 0; i < p->gone_n; i++)
        any = (r.wanted[p->gone[i]] = is_member(a, p, p->gone[i])) || any;
    if (any)
        rc = take_erased(&r);
    if (any && rc == 0)
        rc = read_from(&r, 0, &end, e);
    free(r.wanted);
    if (p->gone_id_n > 1)
        qsort(p->gone_ids, p->gone_id_n, sizeof *p->gone_ids, by_hash);
    return rc;
}

struct str crowd_gone_id(const struct crowd *p, const struct key_hash *hash)
{
    const struct gone_id key = {.hash = *hash};
    const struct gone_id *found = p->gone_id_n ? bsearch(&key, p->gone_ids, p->gone_id_n, sizeof key, by_hash) : NULL;

    return found ? found->id : STR_NONE;
}
