/* One hook's changes on their way: what waits, which of it is posted now, and what becomes of it by the answer. The
 * thread of the webhooks, but for `done`, which comes on the forwarder's. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "profiler/webhooks_inside.h"

#define BACK_OFF_FIRST_MS 1000
#define DOWN 8 /* failures in a row after which a hook is taken to be down */
#define LATER_MS 100
#define BURIED_AT_ONCE 16 /* the others wait meanwhile */
#define GONE 410

/* --- what waits --------------------------------------------------------------------------------------------------- */

void hook_item_free(struct hook_item *i)
{
    free(i->record);
    free(i);
}

static uint64_t hash_of(struct str id)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < id.n; i++)
        h = (h ^ (unsigned char)id.p[i]) * UINT64_C(1099511628211);
    return h;
}

int hook_take(struct hook *h, uint32_t partition, const struct log_record *r, const struct audience_change *c)
{
    struct hook_item *i = calloc(1, sizeof *i);

    assert(h->item_count < LIMIT_WEBHOOK_WAITING);
    if (i)
        i->record = malloc(r->value.n + 1);
    if (!i || !i->record) {
        free(i);
        return -ENOMEM;
    }
    memcpy(i->record, r->value.p, r->value.n);
    i->bytes = r->value.n;
    i->partition = partition;
    i->offset = r->offset;
    i->time = r->time;
    i->person = hash_of(c->id);
    h->items[h->item_count++] = i;
    return 0;
}

static void take_out(struct hook *h, struct hook_item *i)
{
    size_t at = 0;

    while (at < h->item_count && h->items[at] != i)
        at++;
    assert(at < h->item_count);
    memmove(&h->items[at], &h->items[at + 1], (h->item_count - at - 1) * sizeof *h->items);
    h->item_count--;
    hook_item_free(i);
    h->w->dirty = true;
}

static void finish(struct hook *h, struct hook_item *i, enum hook_result result)
{
    stats_add(h->results[result], 1);
    take_out(h, i);
}

/* Those under way go with their answers. */
void hook_drop(struct hook *h, uint32_t partition)
{
    for (size_t k = 0; k < h->item_count;) {
        struct hook_item *i = h->items[k];

        if (i->partition != partition || i->dropped || hook_lane_put_back(&h->lanes[partition], i->offset) != 0) {
            k++;
        } else if (i->under_way) {
            i->dropped = true;
            k++;
        } else {
            take_out(h, i);
        }
    }
}

void hook_figures(struct hook *h)
{
    int64_t oldest = TIME_NONE;

    for (size_t i = 0; i < h->item_count; i++)
        if (oldest == TIME_NONE || h->items[i]->time < oldest)
            oldest = h->items[i]->time;
    atomic_store(&h->waiting, h->item_count);
    atomic_store(&h->oldest, oldest);
    atomic_store(&h->is_off, h->off);
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

/* Doubled each time, and up to a quarter more or less, so that those who failed together come one by one. */
static int64_t back_off(unsigned tries)
{
    int64_t ms = BACK_OFF_FIRST_MS;

    while (--tries > 0 && ms < LIMIT_WEBHOOK_BACK_OFF_MS)
        ms *= 2;
    ms = ms < LIMIT_WEBHOOK_BACK_OFF_MS ? ms : LIMIT_WEBHOOK_BACK_OFF_MS;
    return ms - ms / 4 + (int64_t)randombytes_uniform((uint32_t)(ms / 2 + 1));
}

static bool is_old(const struct hook_item *i)
{
    return clock_now() - i->time > LIMIT_WEBHOOK_TRY_MS;
}

static void give_up(struct hook *h, struct hook_item *i)
{
    char id[WEBHOOK_ID_BYTES];

    hook_id(h->w, i->partition, i->offset, id);
    hook_bury(h, i, id);
    finish(h, i, HOOK_GIVEN_UP);
}

static void failed(struct hook *h, struct hook_item *i, const char *why)
{
    if (++h->failed_row == DOWN)
        log_warn("webhook %s: %d tries in a row failed, the last with: %s; trying on", h->conf->name, DOWN, why);
    stats_add(h->results[HOOK_FAILED], 1);
    i->tries++;
    i->next_at = clock_monotonic() + back_off(i->tries);
    snprintf(i->why, sizeof i->why, "%s", why);
    if (is_old(i))
        give_up(h, i);
}

/* What waited for the hook to come up again need not wait for its turn. */
static void delivered(struct hook *h, struct hook_item *i)
{
    finish(h, i, HOOK_DELIVERED);
    if (h->failed_row >= DOWN) {
        log_info("webhook %s: answers again", h->conf->name);
        for (size_t k = 0; k < h->item_count; k++)
            h->items[k]->next_at = 0;
    }
    h->failed_row = 0;
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static void done(struct forward_call *call)
{
    struct hook_call *c = (struct hook_call *)call;
    struct webhooks *w = c->hook->w;

    pthread_mutex_lock(&w->lock);
    c->next = w->answered;
    w->answered = c;
    w->woken = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void call_free(struct hook_call *c)
{
    buf_deinit(&c->body);
    buf_deinit(&c->call.body);
    free(c);
}

static void refused(struct hook *h, struct hook_item *i, struct hook_call *c)
{
    char why[64];

    if (c->call.status == GONE) {
        h->off = true;
        log_error("webhook %s: the answer is 410: it wants no more and is off until the next start", h->conf->name);
        stats_add(h->results[HOOK_FAILED], 1);
        return;
    }
    if (c->call.status == 0) {
        buf_add_char(&c->call.body, '\0');
        failed(h, i, c->call.body.failed ? "no answer" : c->call.body.p);
        return;
    }
    snprintf(why, sizeof why, "the answer is %u", c->call.status);
    failed(h, i, why);
}

void hook_answered(struct hook_call *c, bool stopping)
{
    struct hook *h = c->hook;
    struct hook_item *i = c->item;

    assert(i->under_way && h->under_way > 0);
    h->under_way--;
    i->under_way = false;
    if (i->dropped)
        take_out(h, i);
    else if (c->call.status >= 200 && c->call.status <= 299)
        delivered(h, i);
    else if (!stopping || c->call.status != 0)
        refused(h, i, c);
    call_free(c);
}

static void fill(struct hook_call *c, struct hook *h, struct hook_item *i)
{
    int64_t seconds = clock_now() / 1000;
    char signature[WEBHOOK_SIGNATURE_BYTES];

    c->hook = h;
    c->item = i;
    hook_id(h->w, i->partition, i->offset, c->id);
    webhook_sign(h->conf->key, h->conf->key_bytes, c->id, seconds, buf_str(&c->body), signature);
    snprintf(c->lines[0], sizeof c->lines[0], "webhook-id: %s", c->id);
    snprintf(c->lines[1], sizeof c->lines[1], "webhook-timestamp: %" PRId64, seconds);
    snprintf(c->lines[2], sizeof c->lines[2], "webhook-signature: %s", signature);
    for (size_t k = 0; k < 3; k++)
        c->headers[k] = c->lines[k];
    c->call = (struct forward_call){.url = h->conf->url,
                                    .headers = c->headers,
                                    .post = buf_str(&c->body),
                                    .deadline = clock_monotonic() + LIMIT_WEBHOOK_CALL_MS,
                                    .done = done};
}

/* What cannot be made is as a try that failed, but for what may be better in a moment. */
static void unmade(struct hook *h, struct hook_item *i, int rc, const struct err *e)
{
    if (rc == PERSON_LEFT_OUT)
        finish(h, i, HOOK_LEFT_OUT);
    else if (rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM)
        i->next_at = clock_monotonic() + LATER_MS;
    else
        failed(h, i, e->text[0] ? e->text : strerror(-rc));
}

/* False when the forwarder takes nothing on. */
static bool send(struct hook *h, struct hook_item *i)
{
    struct hook_call *c = calloc(1, sizeof *c);
    struct err e = {0};
    int rc = c ? 0 : -ENOMEM;

    if (c)
        buf_init(&c->body, LIMIT_WEBHOOK_BODY);
    if (rc == 0)
        rc = hook_body(h, i, &c->body, &e);
    if (rc != 0) {
        if (c)
            call_free(c);
        unmade(h, i, rc, &e);
        return true;
    }
    fill(c, h, i);
    i->under_way = true;
    h->under_way++;
    if (forward_send(h->w->forward, &c->call))
        return true;
    i->under_way = false;
    h->under_way--;
    i->next_at = clock_monotonic() + LATER_MS;
    call_free(c);
    return false;
}

/* A person's changes come in their order. */
static bool is_behind(const struct hook *h, size_t at)
{
    for (size_t k = 0; k < at; k++)
        if (h->items[k]->person == h->items[at]->person && h->items[k]->partition == h->items[at]->partition)
            return true;
    return false;
}

int64_t hook_send(struct hook *h, int64_t now)
{
    int64_t next = INT64_MAX;
    bool down = h->failed_row >= DOWN;
    unsigned most = down ? 1 : LIMIT_WEBHOOK_AT_ONCE, buried = 0;

    if (h->off)
        return next;
    for (size_t k = 0; k < h->item_count && h->under_way < most;) {
        struct hook_item *i = h->items[k];
        size_t count = h->item_count;

        if (i->under_way || i->dropped || is_behind(h, k)) {
            k++;
        } else if (down && is_old(i)) {
            if (buried++ == BURIED_AT_ONCE)
                return now;
            if (!i->why[0])
                snprintf(i->why, sizeof i->why, "the hook has not answered for long");
            give_up(h, i);
        } else if (i->next_at > now) {
            next = i->next_at < next ? i->next_at : next;
            k++;
        } else if (!send(h, i)) {
            return i->next_at;
        } else if (h->item_count == count) {
            next = !i->under_way && i->next_at < next ? i->next_at : next;
            k++;
        }
    }
    return next;
}
