/* What is said of an export, and what it was asked to be, as JSON. Pure. */
#include "common/json.h"
#include "profiler/exports_inside.h"

static void number(struct buf *b, const char *key, uint64_t v)
{
    json_write_key(b, key);
    num_write_int(b, (int64_t)v);
}

static void truth(struct buf *b, const char *key, bool v)
{
    json_write_key(b, key);
    buf_add_text(b, v ? "true" : "false");
}

static void moment(struct buf *b, const char *key, int64_t ms)
{
    json_write_key(b, key);
    buf_add_char(b, '"');
    time_write(b, ms);
    buf_add_char(b, '"');
}

static void share(struct buf *b, const char *key, uint32_t millionths)
{
    json_write_key(b, key);
    num_write_micros(b, millionths);
}

/* --- the request ----------------------------------------------------------------------------------------------- */

static void texts(struct buf *b, const char *key, const struct str *v, size_t n)
{
    json_write_key(b, key);
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        json_write_str(b, v[i]);
    }
    buf_add_char(b, ']');
}

static void columns(const struct export_request *r, struct buf *b)
{
    if (export_is_network(r))
        return;
    json_write_key(b, "columns");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->column_count; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        json_write_str(b, r->columns[i].head);
    }
    buf_add_char(b, ']');
}

/* What manifest and request have in common; columns too. */
static void wishes(const struct export_request *r, struct buf *b)
{
    json_write_member(b, "format", str_of(export_kind_names[r->kind]));
    columns(r, b);
    json_write_member(b, "purpose", r->purpose);
    json_write_member(b, "campaign", r->campaign);
    json_write_member(b, "destination", r->destination);
    if (r->channel != CHANNEL_NONE)
        json_write_member(b, "channel", str_of(export_channel_names[r->channel]));
    share(b, "hold_out", r->hold_out);
    if (r->suppress_count)
        texts(b, "suppress", r->suppress, r->suppress_count);
    if (r->cap_times) {
        json_write_key(b, "cap");
        buf_addf(b, "{\"times\":%u,\"per_days\":%u}", r->cap_times, r->cap_days);
    }
    truth(b, "delta", r->delta);
    if (r->anew)
        truth(b, "anew", true);
    if (r->value)
        truth(b, "value", true);
    if (export_is_network(r))
        json_write_member(b, "gmail_mode", str_of(gmail_mode_names[r->gmail]));
}

void export_request_write(const struct export_request *r, struct buf *b)
{
    buf_add_char(b, '{');
    wishes(r, b);
    if (r->listed_count)
        texts(b, "suppress_list", r->listed, r->listed_count);
    buf_add_char(b, '}');
}

/* --- the manifest ---------------------------------------------------------------------------------------------- */

static void exclusions(const struct export_counts *c, struct buf *b)
{
    json_write_key(b, "excluded");
    buf_add_char(b, '{');
    for (int i = 0; i < EXPORT_REASONS; i++)
        number(b, export_reason_names[i], c->excluded[i]);
    buf_add_char(b, '}');
}

static void identifiers(const struct export_counts *c, struct buf *b)
{
    json_write_key(b, "identifiers");
    buf_add_char(b, '{');
    for (int i = 0; i < EXPORT_IDENTIFIERS; i++)
        number(b, export_identifier_names[i], c->by[i]);
    buf_add_char(b, '}');
    number(b, "phones_without_country", c->phones_without_country);
}

static void delta(const struct export_facts *f, struct buf *b)
{
    const struct export_counts *c = f->counts;

    json_write_member(b, "based_on", str_of(f->based_on));
    truth(b, "from_nothing", f->from_nothing);
    number(b, "added", c->added);
    number(b, "removed", c->removed);
    number(b, "unchanged", c->unchanged);
    json_write_key(b, "removals");
    buf_add_char(b, '{');
    for (int i = 0; i < EXPORT_REASONS; i++)
        number(b, export_reason_names[i], c->removals[i]);
    number(b, "left", c->removals[EXPORT_REASONS]);
    number(b, "identifiers_changed", c->removals[EXPORT_REASONS + 1]);
    number(b, "moved", c->removals[EXPORT_REASONS + 2]);
    buf_add_char(b, '}');
}

void export_manifest_write(const struct export_facts *f, struct buf *b)
{
    const struct export_counts *c = f->counts;

    buf_add_char(b, '{');
    json_write_member(b, "audience", str_of(f->entry->audience));
    json_write_member(b, "rule", f->rule);
    moment(b, "rule_version", f->rule_version);
    wishes(f->request, b);
    share(b, "control_group", f->control_percent * 10000);
    json_write_member(b, "by", str_of(f->entry->who));
    moment(b, "asked_at", f->entry->asked_at);
    moment(b, "made_at", f->began);
    number(b, "took_ms", (uint64_t)(f->ended > f->began ? f->ended - f->began : 0));
    number(b, "people", c->people);
    number(b, "rows", c->rows);
    exclusions(c, b);
    identifiers(c, b);
    if (f->request->delta)
        delta(f, b);
    if (str_has(f->request->campaign))
        number(b, "assigned", c->marked);
    number(b, "bytes", c->bytes);
    json_write_member(b, "sha256", str_of(c->sha256));
    json_write_member(b, "content_type", str_of(export_content_type(f->request->kind)));
    json_write_key(b, "partitions");
    buf_addf(b, "{\"here\":%u,\"all\":%u}", f->partitions_here, f->partitions);
    truth(b, "partial", f->partitions_here < f->partitions);
    buf_add_char(b, '}');
}
