/* The context of a call: over the batch's, and what is read from it: address, page, campaign, library, consent.
 * Pure; any thread. */
#include <errno.h>

#include "collector/consent.h"
#include "collector/decode_fields.h"

enum context_slot {
    CONTEXT_IP,
    CONTEXT_PAGE,
    CONTEXT_LOCALE,
    CONTEXT_TRAITS,
    CONTEXT_CONSENT,
    CONTEXT_LIBRARY,
    CONTEXT_CAMPAIGN,
    CONTEXT_USER_AGENT,
    CONTEXT_SLOTS
};

static const struct key_row context_rows[] = {
    KEY("ip", CONTEXT_IP),
    KEY("page", CONTEXT_PAGE),
    KEY("locale", CONTEXT_LOCALE),
    KEY("traits", CONTEXT_TRAITS),
    KEY("consent", CONTEXT_CONSENT),
    KEY("library", CONTEXT_LIBRARY),
    KEY("campaign", CONTEXT_CAMPAIGN),
    KEY("userAgent", CONTEXT_USER_AGENT),
    SNAKE("user_agent", CONTEXT_USER_AGENT),
};
const struct key_table context_keys = KEY_TABLE(context_rows);

/* --- the batch's context under the event's own --------------------------------------------------------- */

static bool has_member(const struct json *o, struct str key)
{
    for (const struct json *v = o->child; v; v = v->next)
        if (str_eq(v->key, key))
            return true;
    return false;
}

/* The batch's context counts for each of its events, so it is kept small: else a short request would grow a
 * thousandfold on the log. */
static int batch_context(struct reader *r, const struct json **out)
{
    const struct json *v = json_get(r->in->batch, "context");

    *out = NULL;
    if (!v || v->type != JSON_OBJECT || v->count == 0)
        return 0;
    if (v->raw.n > LIMIT_TEXT_BYTES)
        return refuse(r->why, "too_large", "the batch's context is over %zu bytes", LIMIT_TEXT_BYTES);
    if (v->count > LIMIT_BATCH_MEMBERS)
        return refuse(r->why, "too_large", "the batch's context has over %d members", LIMIT_BATCH_MEMBERS);
    if (v->height > LIMIT_EVENT_DEPTH - 1)
        return refuse(r->why, "too_deep", "the batch's context is nested over %d deep", LIMIT_EVENT_DEPTH - 1);
    *out = v;
    return 0;
}

/* A JSON object of the event's own members and those of the batch that it does not have. */
static int merge(struct reader *r, const struct json *own, const struct json *batch, struct str *out)
{
    size_t missing = 0;

    for (const struct json *v = batch->child; v; v = v->next)
        missing += !has_member(own, v->key);
    if (missing == 0) {
        *out = own->raw;
        return 0;
    }
    struct buf b;
    buf_init(&b, own->raw.n + 8 * LIMIT_TEXT_BYTES);
    buf_add(&b, own->raw.p, own->raw.n - 1);
    for (const struct json *v = batch->child; v; v = v->next) {
        if (has_member(own, v->key))
            continue;
        buf_add_char(&b, ',');
        json_write_str(&b, v->key);
        buf_add_char(&b, ':');
        buf_add_str(&b, v->raw);
    }
    buf_add_char(&b, '}');
    *out = b.failed ? STR_NONE : arena_dup(r->arena, buf_str(&b));
    buf_deinit(&b);
    return str_has(*out) ? 0 : -ENOMEM;
}

/* Without what must not be kept, and without the person's traits, which go with the call's own. */
static int context_keep(struct reader *r, const struct json *own, const struct json *batch)
{
    const struct scrub_source from = {
        .own = own, .under = batch, .without = r->e->type == EVENT_GROUP ? NULL : "traits"};
    struct event *e = r->e;

    if (r->scrub && scrub_wanted(r->scrub, SCRUB_CONTEXT, &from))
        return scrub_object(r->scrub, SCRUB_CONTEXT, &from, &e->context);
    if (own && own->count > 0 && batch)
        return merge(r, own, batch, &e->context);
    if (batch)
        e->context = batch->raw;
    else if (own)
        e->context = own->raw;
    return 0;
}

/* --- the campaign --------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A value of a query, decoded; a bad escape stays as it is. *out keeps what it was when memory is out or the value is
 * empty or too long. */
static void query_value(struct arena *a, struct str raw, size_t max, struct str *out)
{
    char *p = raw.n > 0 && raw.n <= 3 * max ? arena_alloc(a, raw.n) : NULL;
    size_t n = 0;

    if (!p)
        return;
    for (size_t i = 0; i < raw.n; i++) {
        int high = raw.p[i] == '%' && i + 2 < raw.n ? hex_digit(raw.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(raw.p[i + 2]) : -1;
        if (low >= 0) {
            p[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            p[n++] = raw.p[i] == '+' ? ' ' : raw.p[i];
        }
    }
    if (n <= max)
        *out = (struct str){p, n};
}

/* Ids that ad networks put behind a link. */
static bool is_click_id(struct str name)
{
    static const char *const kinds[] = {"gclid",  "gbraid", "wbraid",    "fbclid", "msclkid",
                                        "ttclid", "twclid", "li_fat_id", "yclid",  "dclid"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_is(name, kinds[i]))
            return true;
    return false;
}

static struct str *utm_field(struct campaign *c, struct str name)
{
    if (!str_starts(name, STR_LIT("utm_")))
        return NULL;
    name = (struct str){name.p + 4, name.n - 4};
    return str_is(name, "campaign")  ? &c->name
           : str_is(name, "source")  ? &c->source
           : str_is(name, "medium")  ? &c->medium
           : str_is(name, "term")    ? &c->term
           : str_is(name, "content") ? &c->content
                                     : NULL;
}

/* One "name=value" of the query; of several of one name the first counts. `pair` is the whole. */
static void query_pair_read(struct reader *r, struct str pair, bool stated)
{
    const char *equals = memchr(pair.p, '=', pair.n);
    struct campaign *c = &r->e->campaign;

    if (!equals)
        return;
    struct str name = {pair.p, (size_t)(equals - pair.p)};
    struct str value = {equals + 1, pair.n - name.n - 1};
    struct str *utm = stated ? NULL : utm_field(c, name);
    if (utm && !str_has(*utm))
        query_value(r->arena, value, LIMIT_NAME_BYTES, utm);
    else if (!str_has(c->click_id) && value.n > 0 && is_click_id(name))
        query_value(r->arena, pair, LIMIT_TEXT_BYTES, &c->click_id);
}

static void url_campaign_read(struct reader *r, bool stated)
{
    struct str url = r->e->url;
    const char *p = url.n ? memchr(url.p, '?', url.n) : NULL;

    if (!p)
        return;
    const char *end = url.p + url.n, *fragment = memchr(p, '#', (size_t)(end - p));
    if (fragment)
        end = fragment;
    while (p < end) {
        const char *from = p + 1;
        p = memchr(from, '&', (size_t)(end - from));
        p = p ? p : end;
        if (p > from)
            query_pair_read(r, (struct str){from, (size_t)(p - from)}, stated);
    }
}

/* Of what stays of the url and of the texts. */
static void campaign_read(struct reader *r, const struct json *v)
{
    struct campaign *c = &r->e->campaign;
    struct str *const texts[] = {&r->e->url, &c->name, &c->source, &c->medium, &c->term, &c->content};

    text_read_full(json_get(v, "name"), LIMIT_NAME_BYTES, &c->name);
    text_read_full(json_get(v, "source"), LIMIT_NAME_BYTES, &c->source);
    text_read_full(json_get(v, "medium"), LIMIT_NAME_BYTES, &c->medium);
    text_read_full(json_get(v, "term"), LIMIT_NAME_BYTES, &c->term);
    text_read_full(json_get(v, "content"), LIMIT_NAME_BYTES, &c->content);
    for (size_t i = 0; r->scrub && i < sizeof texts / sizeof *texts; i++)
        scrub_url(r->scrub, texts[i]);
    url_campaign_read(r, str_has(c->name) || str_has(c->source) || str_has(c->medium) || str_has(c->term) ||
                             str_has(c->content));
}

/* --- the rest ------------------------------------------------------------------------------------------- */

/* What the properties did not say already. */
static void page_text_read(const struct json *page, const char *key, struct str *out)
{
    if (!str_has(*out))
        text_read_full(json_get(page, key), LIMIT_TEXT_BYTES, out);
}

static void page_read(struct reader *r, const struct json *page)
{
    struct event *e = r->e;

    page_text_read(page, "url", &e->url);
    page_text_read(page, "path", &e->path);
    page_text_read(page, "title", &e->title);
    page_text_read(page, "referrer", &e->referrer);
}

/* A beacon's address is that of its connection, whatever it says; a back end is not the person, so its connection
 * tells nothing. */
static void address_read(struct reader *r, const struct json *ip, const struct json *user_agent)
{
    struct event *e = r->e;
    bool beacon = r->in->trust == TRUST_BEACON;

    if (beacon)
        e->ip = r->in->ip;
    else
        text_read_full(ip, LIMIT_NAME_BYTES, &e->ip);
    if (!beacon && str_has(e->ip) && r->in->privacy)
        e->ip = privacy_address(r->in->privacy->ip, e->ip, r->arena);
    text_read_full(user_agent, LIMIT_TEXT_BYTES, &e->user_agent);
    if (beacon && !str_has(e->user_agent) && r->in->user_agent.n > 0 && r->in->user_agent.n <= LIMIT_TEXT_BYTES)
        e->user_agent = r->in->user_agent;
}

/* What the person agreed to: the call's word over the context's, the event's over the batch's. */
static int consent_take(struct reader *r, const struct json *own, const struct json *context,
                        const struct json *batch_context)
{
    const struct consent_source from = {.stated = {batch_context, json_get(r->in->batch, "consent"), context, own},
                                        .refuse_analytics = r->in->refuse_analytics,
                                        .refuse_marketing_and_sale = r->in->refuse_marketing_and_sale};
    bool ignored;
    int rc = consent_read(&from, r->arena, &r->e->consent, &ignored);

    r->notes->consents_ignored += ignored;
    return rc;
}

int context_read(struct reader *r, const struct json *value, const struct json *consent, const struct json **traits)
{
    const struct json *own, *batch, *v[CONTEXT_SLOTS];
    struct members m, defaults;
    struct event *e = r->e;
    int rc = object_read(r->why, "context", value, &own);

    if (rc == 0)
        rc = batch_context(r, &batch);
    if (rc == 0)
        rc = context_keep(r, own, batch);
    if (rc != 0)
        return rc;
    members_read(own, &context_keys, &m);
    members_read(batch, &context_keys, &defaults);
    for (unsigned i = 0; i < CONTEXT_SLOTS; i++)
        v[i] = member(&m, i) ? member(&m, i) : member(&defaults, i);
    address_read(r, v[CONTEXT_IP], v[CONTEXT_USER_AGENT]);
    text_read_full(v[CONTEXT_LOCALE], LIMIT_NAME_BYTES, &e->locale);
    text_read_full(json_get(v[CONTEXT_LIBRARY], "name"), LIMIT_NAME_BYTES, &e->library);
    text_read_full(json_get(v[CONTEXT_LIBRARY], "version"), LIMIT_NAME_BYTES, &e->library_version);
    page_read(r, v[CONTEXT_PAGE]);
    campaign_read(r, v[CONTEXT_CAMPAIGN]);
    *traits = v[CONTEXT_TRAITS];
    return consent_take(r, consent, member(&m, CONTEXT_CONSENT), member(&defaults, CONTEXT_CONSENT));
}
