/* Reading LOG_AUDIENCES for one hook: each partition from where it stood, as far as there is room for what waits. The
 * thread of the webhooks. */
#include <errno.h>
#include <stdlib.h>

#include "profiler/webhooks_inside.h"

#define READ_BATCH 64
#define READ_BYTES (1 * MIB)
#define ASK_MS 1000
#define RETRY_MS 1000

int hook_lane_put_back(struct hook_lane *l, int64_t offset)
{
    int64_t *v = realloc(l->pending, (l->pending_count + 1) * sizeof *v);

    if (!v)
        return -ENOMEM;
    l->pending = v;
    v[l->pending_count++] = offset;
    return 0;
}

void hook_lane_forget(struct hook_lane *l)
{
    free(l->pending);
    l->pending = NULL;
    l->pending_count = 0;
}

/* Who asks a log that does not answer waits for it: not for each partition of each hook. */
static bool trouble(struct hook *h, struct hook_lane *l, uint32_t partition, const struct err *e)
{
    l->here = false;
    h->w->stand_at = clock_monotonic() + RETRY_MS;
    log_limited(&h->limit, LOG_WARN, "webhook %s: the changes of partition %u cannot be read: %s; trying again",
                h->conf->name, partition, e && e->text[0] ? e->text : "the log does not answer");
    return false;
}

/* --- where to go on ---------------------------------------------------------------------------------------------- */

/* Of a partition that nothing is known of, which only one of a shared log is: another may have told of it before. */
static int first_place(struct hook *h, struct hook_lane *l, uint32_t partition, struct err *e)
{
    int64_t end;
    int rc = event_log_ask_ends(h->w->o.log, LOG_AUDIENCES, &partition, 1, ASK_MS, &end, e);

    if (rc != 0)
        return rc;
    l->next = event_log_begin(h->w->o.log, LOG_AUDIENCES, partition);
    l->known = true;
    h->w->dirty = true;
    return 0;
}

static int64_t place_of(const struct hook_lane *l)
{
    int64_t place = l->next;

    for (size_t i = 0; i < l->pending_count; i++)
        if (l->pending[i] < place)
            place = l->pending[i];
    return place;
}

/* The log does not hold the place: retention took it, or the topic is another one, which is shorter. */
static int pass_gap(struct hook *h, struct hook_lane *l, uint32_t partition, int64_t place)
{
    int64_t begin = event_log_begin(h->w->o.log, LOG_AUDIENCES, partition);
    uint64_t lost = begin > l->until ? (uint64_t)(begin - l->until) : 0;

    for (size_t i = 0; i < l->pending_count; i++)
        lost += l->pending[i] < begin || begin <= place;
    stats_add(h->results[HOOK_LOST], lost);
    log_error("webhook %s: changes from %lld on of partition %u are not on the log any more; going on at %lld",
              h->conf->name, (long long)place, partition, (long long)begin);
    if (begin <= place) {
        hook_lane_forget(l);
        l->until = begin;
    }
    l->until = l->until > begin ? l->until : begin;
    l->next = begin;
    h->w->dirty = true;
    return log_reader_seek(h->reader, partition, begin);
}

static bool stand(struct hook *h, struct hook_lane *l, uint32_t partition)
{
    struct err e = {0};
    int rc = l->known ? 0 : first_place(h, l, partition, &e);

    if (rc == 0) {
        int64_t place = place_of(l);

        l->until = l->until > l->next ? l->until : l->next;
        rc = log_reader_seek(h->reader, partition, place);
        if (rc == 0)
            l->next = place;
        else if (rc == LOG_READ_GAP)
            rc = pass_gap(h, l, partition, place);
    }
    if (rc != 0)
        return trouble(h, l, partition, &e);
    if (!l->ours)
        l->since = h->w->forgot || event_log_shared(h->w->o.log) ? clock_now() - LIMIT_WEBHOOK_TRY_MS : TIME_NONE;
    l->here = l->ours = true;
    return true;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

/* Of those before `until` only the ones that had not been delivered. */
static bool was_pending(struct hook_lane *l, int64_t offset)
{
    for (size_t i = 0; i < l->pending_count; i++)
        if (l->pending[i] == offset) {
            l->pending[i] = l->pending[--l->pending_count];
            return true;
        }
    return false;
}

static bool is_told(const struct conf_webhook *c, struct str audience)
{
    bool told = c->all;

    for (size_t i = 0; i < c->audience_count && !told; i++)
        told = str_is(audience, c->audiences[i]);
    return told;
}

static int take_record(struct hook *h, struct hook_lane *l, uint32_t partition, const struct log_record *r)
{
    struct audience_change c;

    if (r->offset < l->until ? !was_pending(l, r->offset) : r->time < l->since)
        return 0;
    if (r->kind != LOG_KIND_CHANGE)
        return 0;
    arena_reset(&h->w->arena);
    int rc = audience_change_read(r->value, &h->w->arena, &c);
    if (rc > 0 || (rc == 0 && !is_told(h->conf, c.audience)))
        return 0;
    /* On a log of our own nothing names who was erased, and there is nobody to tell of. */
    if (rc == 0 && !str_has(c.id)) {
        stats_add(h->results[HOOK_LEFT_OUT], 1);
        return 0;
    }
    return rc == 0 ? hook_take(h, partition, r, &c) : rc;
}

/* A record that cannot be read would be in the way for ever. */
static bool pass_damaged(struct hook *h, struct hook_lane *l, uint32_t partition, const struct err *e)
{
    log_error("webhook %s: a change is left out: %s", h->conf->name, e->text);
    stats_add(h->results[HOOK_LOST], 1);
    l->next++;
    h->w->dirty = true;
    if (log_reader_seek(h->reader, partition, l->next) != 0)
        l->here = false;
    return true;
}

static bool read_lane(struct hook *h, struct hook_lane *l, uint32_t partition)
{
    struct log_record records[READ_BATCH];
    struct err e = {0};
    size_t room = LIMIT_WEBHOOK_WAITING - h->item_count;

    if (!event_log_shared(h->w->o.log) && l->next >= event_log_end(h->w->o.log, LOG_AUDIENCES, partition))
        return false;
    int n = log_reader_read(h->reader, partition, records, room < READ_BATCH ? room : READ_BATCH, READ_BYTES, &e);
    if (n == -ESTALE) {
        l->here = false;
        return true;
    }
    if (n == -EBADMSG)
        return pass_damaged(h, l, partition, &e);
    if (n < 0)
        return trouble(h, l, partition, &e);
    for (int i = 0; i < n; i++) {
        if (take_record(h, l, partition, &records[i]) != 0)
            return trouble(h, l, partition, NULL);
        l->next = records[i].offset + 1;
    }
    if (l->next >= l->until)
        hook_lane_forget(l);
    h->w->dirty = h->w->dirty || n > 0;
    return n > 0;
}

static void leave(struct hook *h, struct hook_lane *l, uint32_t partition)
{
    l->here = false;
    if (!l->ours || !event_log_shared(h->w->o.log))
        return;
    l->ours = false;
    hook_drop(h, partition);
}

bool hook_read(struct hook *h)
{
    struct webhooks *w = h->w;
    struct err e = {0};
    bool more = false;

    if (h->off)
        return false;
    if (!h->reader && log_reader_open(w->o.log, LOG_AUDIENCES, NULL, &h->reader, &e) != 0) {
        log_limited(&h->limit, LOG_WARN, "webhook %s: the changes cannot be read: %s", h->conf->name, e.text);
        return false;
    }
    for (uint32_t i = 0; i < w->partitions && h->item_count < LIMIT_WEBHOOK_WAITING; i++) {
        uint32_t p = (h->turn + i) % w->partitions;
        struct hook_lane *l = &h->lanes[p];

        if (!w->o.shows(w->o.arg, p))
            leave(h, l, p);
        else if (l->here || (w->stand_at <= clock_monotonic() && stand(h, l, p)))
            more = read_lane(h, l, p) || more;
    }
    h->turn = (h->turn + 1) % w->partitions;
    return more && h->item_count < LIMIT_WEBHOOK_WAITING;
}
