/* The path of a profile: sessions per device, dwell, where from. Pure; runs on whichever thread has the events. */
#include "profiler/path.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/order.h"

/* --- where from ----------------------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same_ignoring_case(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    }
    return true;
}

static struct str without_www(struct str host)
{
    if (host.n > 4 && same_ignoring_case((struct str){host.p, 4}, STR_LIT("www.")))
        return (struct str){host.p + 4, host.n - 4};
    return host;
}

static bool scheme_char(char c)
{
    c = lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

/* What stands between "scheme://" or "//" and the path; empty for what is no such address. */
static struct str authority(struct str url)
{
    size_t i = 0, end;

    while (i < url.n && scheme_char(url.p[i]))
        i++;
    if (i > 0 && (i == url.n || url.p[i++] != ':'))
        return STR_NONE;
    if (url.n - i < 2 || url.p[i] != '/' || url.p[i + 1] != '/')
        return STR_NONE;
    i += 2;
    for (end = i; end < url.n && !memchr("/?#\\", url.p[end], 4); end++)
        ;
    return (struct str){url.p + i, end - i};
}

/* The host of an address without user, port, final dot and "www."; empty when there is none. */
static struct str host_of(struct str url)
{
    struct str h = authority(url);
    const char *at = h.n ? memrchr(h.p, '@', h.n) : NULL;
    const char *end;

    if (at)
        h = (struct str){at + 1, (size_t)(h.p + h.n - at - 1)};
    if (h.n == 0)
        return STR_NONE;
    if (h.p[0] == '[') {
        end = memchr(h.p, ']', h.n);
        return end ? (struct str){h.p, (size_t)(end - h.p) + 1} : STR_NONE;
    }
    end = memchr(h.p, ':', h.n);
    if (end)
        h.n = (size_t)(end - h.p);
    if (h.n > 0 && h.p[h.n - 1] == '.')
        h.n--;
    return without_www(h);
}

/* The host itself or one below it. */
static bool host_within(struct str host, struct str of)
{
    struct str tail;

    if (of.n == 0 || host.n < of.n)
        return false;
    tail = (struct str){host.p + (host.n - of.n), of.n};
    return same_ignoring_case(tail, of) && (host.n == of.n || host.p[host.n - of.n - 1] == '.');
}

bool path_external_referrer(const struct event *e, const struct fold_rules *rules)
{
    struct str from = host_of(e->referrer);
    struct str own = host_of(e->url);

    /* Without the page's own address nobody can tell whether the referrer is another site. */
    if (from.n == 0 || own.n == 0 || same_ignoring_case(from, own))
        return false;
    for (size_t i = 0; i < rules->payment_host_count; i++) {
        if (host_within(from, without_www(str_of(rules->payment_hosts[i]))))
            return false;
    }
    return true;
}

static bool came_by_campaign(const struct campaign *c)
{
    return c->name.n || c->source.n || c->medium.n || c->term.n || c->content.n || c->click_id.n;
}

static bool makes_session(const struct event *e)
{
    if (e->type == EVENT_PAGE || e->type == EVENT_SCREEN)
        return true;
    /* What a back end tracks about an account happened on no device of theirs, unless it names one. */
    return e->type == EVENT_TRACK && (e->trust == TRUST_BEACON || str_has(e->anonymous_id));
}

unsigned entry_flags(const struct event *e, const struct fold_rules *rules)
{
    unsigned flags = 0;
    enum order_status status;

    if (e->type == EVENT_MARK)
        return ENTRY_MARK;
    if (e->type == EVENT_PAGE || e->type == EVENT_SCREEN)
        flags |= ENTRY_PAGE;
    if (e->campaign.name.n)
        flags |= ENTRY_CAMPAIGN;
    if (order_stated(e, &status))
        flags |= ENTRY_ORDER;
    if (!makes_session(e))
        return flags;
    flags |= ENTRY_SESSION;
    if (came_by_campaign(&e->campaign) || path_external_referrer(e, rules))
        flags |= ENTRY_TOUCH;
    return flags;
}

/* --- sessions ------------------------------------------------------------------------------------------------- */

int path_entry_cmp(const void *a, const void *b)
{
    const struct path_entry *x = a;
    const struct path_entry *y = b;

    return event_key_cmp(&x->key, &y->key);
}

/* Whether `b` comes more than the gap after `a`; no times overflow it. */
static bool apart(int64_t a, int64_t b, int64_t gap)
{
    return b > a && (uint64_t)b - (uint64_t)a > (uint64_t)gap;
}

int path_session_change(int64_t before, int64_t time, int64_t after, int64_t session_gap_ms)
{
    bool first = before == TIME_NONE, last = after == TIME_NONE;
    int was = !last && (first || apart(before, after, session_gap_ms));
    int starts = first || apart(before, time, session_gap_ms);
    int next_starts = !last && apart(time, after, session_gap_ms);

    assert((first || before <= time) && (last || time <= after));
    return starts + next_starts - was;
}

/* One device of the path and its latest session so far. */
struct device {
    bool used;
    uint32_t number;
    uint32_t session; /* 0: none yet */
    int64_t first, last;
    int64_t page; /* index of the latest page of the session, -1: none */
    int64_t next; /* on the way back: index of the session start met last, -1: none */
};

/* Devices by number: open addressing, at most half full. */
struct devices {
    struct device *v;
    size_t cap, n;
};

static struct device *devices_slot(struct device *v, size_t cap, uint32_t number)
{
    size_t i = (size_t)(number * UINT32_C(2654435769)) & (cap - 1);

    while (v[i].used && v[i].number != number)
        i = (i + 1) & (cap - 1);
    return &v[i];
}

static bool devices_grow(struct devices *d)
{
    size_t cap = d->cap ? d->cap * 2 : 8;
    struct device *v = calloc(cap, sizeof(*v));

    if (!v)
        return false;
    for (size_t i = 0; i < d->cap; i++) {
        if (d->v[i].used)
            *devices_slot(v, cap, d->v[i].number) = d->v[i];
    }
    free(d->v);
    d->v = v;
    d->cap = cap;
    return true;
}

/* The device of that number, new or known; NULL when memory is out. */
static struct device *devices_get(struct devices *d, uint32_t number)
{
    struct device *slot;

    if (d->n * 2 >= d->cap && !devices_grow(d))
        return NULL;
    slot = devices_slot(d->v, d->cap, number);
    if (!slot->used) {
        *slot = (struct device){.used = true, .number = number, .page = -1, .next = -1};
        d->n++;
    }
    return slot;
}

static void note_session_event(const struct path_entry *v, size_t i, struct device *d, int64_t gap,
                               struct path_note *out, uint32_t *sessions)
{
    int64_t time = v[i].key.time;

    if (d->session == 0 || apart(d->last, time, gap)) {
        d->session = ++*sessions;
        d->first = time;
        d->page = -1;
        out[i].starts = true;
    }
    d->last = time;
    out[i].session = d->session;
    out[i].session_start = d->first;
    out[i].page_before = d->page;
    /* Grows with every event up to the next page, and so ends at that page or at the session's last event. */
    if (d->page >= 0)
        out[d->page].dwell_ms = time - v[d->page].key.time;
    if (v[i].flags & ENTRY_PAGE)
        d->page = (int64_t)i;
}

/* An event that makes no session. Were the session extended later, this event would lie within the gap already; so
 * the session's end as known here decides. */
static void note_other(int64_t time, const struct device *d, int64_t gap, struct path_note *note)
{
    if (d->session == 0 || apart(d->last, time, gap))
        return;
    note->session = d->session;
    note->session_start = d->first;
    note->page_before = d->page;
}

/* An event that makes no session may stand before a session's first event in the order of events and yet at its time:
 * it falls into that session. Going back, the start is known first. */
static void note_ties(const struct path_entry *v, size_t n, struct devices *devices, struct path_note *out)
{
    for (size_t i = n; i-- > 0;) {
        struct device *d = devices_slot(devices->v, devices->cap, v[i].device);

        if (out[i].starts)
            d->next = (int64_t)i;
        if (out[i].session == 0 && d->next >= 0 && v[d->next].key.time == v[i].key.time) {
            out[i].session = out[d->next].session;
            out[i].session_start = out[d->next].session_start;
        }
    }
}

int path_annotate(const struct path_entry *v, size_t n, int64_t session_gap_ms, struct path_note *out,
                  uint32_t *sessions)
{
    struct devices devices = {0};
    uint32_t count = 0;
    bool loose = false; /* some event has no session so far */

    for (size_t i = 0; i < n; i++) {
        struct device *d = devices_get(&devices, v[i].device);

        if (!d) {
            free(devices.v);
            return -ENOMEM;
        }
        assert(i == 0 || event_key_cmp(&v[i - 1].key, &v[i].key) <= 0);
        out[i] = (struct path_note){.session_start = TIME_NONE, .dwell_ms = -1, .page_before = -1};
        if (v[i].flags & ENTRY_SESSION)
            note_session_event(v, i, d, session_gap_ms, out, &count);
        else
            note_other(v[i].key.time, d, session_gap_ms, &out[i]);
        loose |= out[i].session == 0;
    }
    if (loose)
        note_ties(v, n, &devices, out);
    free(devices.v);
    *sessions = count;
    return 0;
}
