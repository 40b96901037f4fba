/* Changes onto LOG_AUDIENCES; what is there goes into rows and bitmaps, and rows to disk. The judging thread; acks come
 * on a thread of the log. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/audience_inside.h"

#define APPEND_MOST 1024 /* records of one append */
#define CHANGE_BYTES (16 * KIB)
#define RETRY_FIRST_MS 50
#define RETRY_MOST_MS 5000
#define WRITE_MS 1000 /* rows wait so long */

/* --- the topic ------------------------------------------------------------------------------------------------- */

/* An append under way. */
struct sending {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t left;
};

struct sent {
    struct sending *all;
    enum log_status status;
    int64_t offset;
};

static void answered(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct sent *s = arg;
    struct sending *all = s->all;

    (void)partition;
    pthread_mutex_lock(&all->lock);
    s->status = status;
    s->offset = offset;
    if (--all->left == 0)
        pthread_cond_signal(&all->cond);
    pthread_mutex_unlock(&all->lock);
}

/* What was refused whole has not been sent: its records have that status. */
static void send(struct audiences *a, const struct log_record *records, size_t n, struct sent *sent)
{
    struct sending all = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .left = n};
    void *args[APPEND_MOST];

    assert(n <= APPEND_MOST);
    for (size_t i = 0; i < n; i++) {
        sent[i].all = &all;
        args[i] = &sent[i];
    }
    enum log_status s = event_log_append(a->o.log, LOG_AUDIENCES, LOG_BY_PROFILER, records, n, answered, args);
    if (s == LOG_OK) {
        pthread_mutex_lock(&all.lock);
        while (all.left > 0)
            pthread_cond_wait(&all.cond, &all.lock);
        pthread_mutex_unlock(&all.lock);
    } else {
        for (size_t i = 0; i < n; i++)
            sent[i] = (struct sent){.status = s, .offset = -1};
    }
    pthread_cond_destroy(&all.cond);
    pthread_mutex_destroy(&all.lock);
}

/* One who had the partition before may have had something under way, which got there late. */
static void take_offset(struct audiences *a, struct batch_change *c, int64_t offset)
{
    struct crowd *p = c->part;

    if (!p->unread && offset != p->next && needs_topic(a)) {
        log_limited(&a->limit, LOG_INFO, "audiences: partition %u: others' changes stand on its topic at %lld",
                    p->number, (long long)p->next);
        p->gap = p->unread = true;
    }
    p->next = offset + 1;
    c->offset = offset;
}

static bool take_answer(struct audiences *a, struct batch_change *c, const struct sent *s)
{
    struct crowd *p = c->part;

    if (s->status == LOG_OK) {
        take_offset(a, c, s->offset);
        stats_add(a->changes[c->c.entered], 1);
        return true;
    }
    stats_add(a->failures, 1);
    a->batch.v[c->verdict].failed = true;
    /* On Kafka it may be there all the same, and others of the person are. */
    p->unread = p->unread || s->status == LOG_FAILED || s->status == LOG_UNREACHABLE;
    log_limited(&a->limit, LOG_ERROR, "audiences: a change of %.*s does not get on its topic: %s; trying again",
                STR_ARG(c->c.audience), log_status_text(s->status));
    return false;
}

/* The changes from `from` on, as many as one append takes, of partitions that are still ours. How many. */
static size_t send_some(struct audiences *a, size_t from, bool *fine)
{
    struct batch *b = &a->batch;
    struct log_record records[APPEND_MOST];
    struct sent sent[APPEND_MOST];
    struct batch_change *of[APPEND_MOST];
    size_t at[APPEND_MOST], n = 0, i = from;

    buf_reset(&b->out);
    for (; i < b->change_count && n < APPEND_MOST && b->out.n + CHANGE_BYTES < b->out.max; i++) {
        struct batch_change *c = &b->changes[i];

        if (b->v[c->verdict].failed || c->part->gap || !crowd_shows(a, c->part->number)) {
            b->v[c->verdict].failed = true;
            continue;
        }
        at[n] = b->out.n;
        if (!audience_change_write(&c->c, &b->out)) {
            b->v[c->verdict].failed = true;
            b->out.n = at[n];
            b->out.failed = false;
            continue;
        }
        records[n] = (struct log_record){
            .kind = LOG_KIND_CHANGE, .key = c->key, .placed = true, .partition = c->part->number, .time = 0};
        records[n].value.n = b->out.n - at[n];
        of[n++] = c;
    }
    for (size_t k = 0; k < n; k++)
        records[k].value.p = b->out.p + at[k];
    if (n > 0)
        send(a, records, n, sent);
    for (size_t k = 0; k < n; k++)
        *fine = take_answer(a, of[k], &sent[k]) && *fine;
    return i - from;
}

/* The rows will know everything before the place, and nothing behind it for sure: of somebody not all of whose changes
 * are there the row stays as it was, and the topic tells. */
static void move_places(struct batch *b)
{
    for (size_t i = 0; i < b->change_count; i++) {
        const struct batch_change *c = &b->changes[i];
        struct crowd *p = c->part;

        if (c->offset < 0)
            continue;
        p->dirty = true;
        if (c->offset == p->place && !b->v[c->verdict].failed)
            p->place++;
        else
            p->unread = true;
    }
}

/* --- into memory ----------------------------------------------------------------------------------------------- */

static int pack(struct batch *b, const struct row *r)
{
    buf_reset(&b->out);
    return row_pack(r, &b->out) ? 0 : -ENOMEM;
}

static void apply_gone(struct audiences *a, struct verdict *v)
{
    struct crowd *p = v->part;

    crowd_drop_row(p, v->number, &v->was);
    people_remove(&p->people, v->number);
    row_store_put(a->rows, p->number, &v->hash, STR_NONE);
}

static bool same_tags(const struct row *x, const struct row *y)
{
    return x->tag_count == y->tag_count && memcmp(x->tags, y->tags, x->tag_count * sizeof *x->tags) == 0 &&
           str_eq(x->more_tags, y->more_tags);
}

static bool apply_one(struct audiences *a, struct verdict *v)
{
    struct crowd *p = v->part;

    p->dirty = true;
    if (v->gone) {
        apply_gone(a, v);
        return true;
    }
    if (v->number == PERSON_NONE)
        v->number = people_add(&p->people, &v->hash, PERSON_NONE);
    v->now.number = v->number;
    if (pack(&a->batch, &v->now) != 0)
        return false;
    crowd_drop_row(p, v->number, &v->was);
    crowd_put_row(p, v->number, &v->now);
    p->people.v[v->number].version = v->now.version;
    p->people.v[v->number].world = v->now.world;
    people_set_due(&p->people, v->number, v->now.due);
    row_store_put(a->rows, p->number, &v->hash, buf_str(&a->batch.out));
    return true;
}

static void retagged(struct audiences *a, const struct verdict *v)
{
    struct str id;
    int64_t version;

    if (!a->o.retagged || v->gone || v->was.version != v->now.version || same_tags(&v->was, &v->now))
        return;
    arena_reset(&a->batch.scratch);
    if (state_watch_find(a->o.state, v->part->number, &v->hash, &a->batch.scratch, &id, &version, NULL) == 0)
        a->o.retagged(a->o.arg, v->part->number, id);
}

static void judge_later(struct verdict *v)
{
    if (v->number == PERSON_NONE)
        v->number = people_add(&v->part->people, &v->hash, PERSON_NONE);
    v->part->people.v[v->number].world = 0;
    crowd_again(v->part, v->number);
}

static void count(struct audiences *a, const struct verdict *v)
{
    unsigned why = v->gone                            ? JUDGED_GONE
                   : v->was.version != v->now.version ? JUDGED_EVENT
                   : v->was.world != v->now.world     ? JUDGED_RULE
                                                      : JUDGED_TIME;

    stats_add(a->judged[why], 1);
}

static void note_change(struct audiences *a, const struct batch_change *c)
{
    uint32_t set = a->batch.v[c->verdict].failed ? UINT32_MAX : sets_find(&a->sets, 'a', c->c.audience, STR_NONE);

    if (set == UINT32_MAX)
        return;
    a->sets.v[set].updated_at = c->c.time;
    if (c->c.entered && c->part->blind && a->batch.v[c->verdict].was.version < 0)
        c->part->anew++;
}

static void apply(struct audiences *a)
{
    struct batch *b = &a->batch;

    pthread_rwlock_wrlock(&a->lock);
    for (size_t i = 0; i < b->n; i++) {
        struct verdict *v = &b->v[i];

        if (v->failed || !apply_one(a, v))
            judge_later(v);
        else
            count(a, v);
    }
    for (size_t i = 0; i < b->change_count; i++)
        note_change(a, &b->changes[i]);
    pthread_rwlock_unlock(&a->lock);
    for (size_t i = 0; i < b->n; i++)
        if (!b->v[i].failed)
            retagged(a, &b->v[i]);
}

static void trouble(struct audiences *a)
{
    a->retry_ms = a->retry_ms ? a->retry_ms * 2 : RETRY_FIRST_MS;
    if (a->retry_ms > RETRY_MOST_MS)
        a->retry_ms = RETRY_MOST_MS;
    a->retry_at = clock_monotonic() + a->retry_ms;
}

bool batch_finish(struct audiences *a)
{
    struct batch *b = &a->batch;
    bool fine = true;

    for (size_t at = 0; at < b->change_count;)
        at += send_some(a, at, &fine);
    move_places(b);
    if (b->n > 0)
        apply(a);
    crowds_judged(a);
    if (b->n > 0 && a->write_at == TIME_NONE)
        a->write_at = clock_monotonic() + WRITE_MS;
    if (!fine)
        trouble(a);
    else if (b->change_count > 0)
        a->retry_ms = a->retry_at = 0;
    batch_reset(b);
    return fine;
}

/* --- to disk --------------------------------------------------------------------------------------------------- */

static bool flush_one(struct audiences *a, struct crowd *p, struct err *e)
{
    int rc = row_store_write(a->rows, p->number, p->place, &p->mark, e);

    if (rc != 0)
        return false;
    p->dirty = false;
    if (a->reader && !event_log_shared(a->o.log))
        log_reader_commit(a->reader, p->number, p->place, NULL);
    return true;
}

/* The lock: what waits becomes what is on disk, and a question may be reading a row. */
bool row_store_flush(struct audiences *a)
{
    struct err e = {0};
    bool fine = true;

    for (uint32_t i = 0; i < a->o.partitions && fine; i++) {
        struct crowd *p = &a->parts[i];

        if (!p->here || !p->dirty)
            continue;
        pthread_rwlock_wrlock(&a->lock);
        fine = flush_one(a, p, &e);
        pthread_rwlock_unlock(&a->lock);
    }
    if (!fine) {
        trouble(a);
        log_limited(&a->limit, LOG_ERROR, "audiences: rows cannot be written: %s; trying again", e.text);
    }
    a->write_at = fine ? TIME_NONE : clock_monotonic() + WRITE_MS;
    return fine;
}
