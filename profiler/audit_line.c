/* Lines of audit.log. Pure. */
#include "profiler/audit_line.h"

#include <assert.h>
#include <inttypes.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/num.h"
#include "profiler/audit.h"

static const char *const kinds[AUDIT_KINDS] = {
    [AUDIT_READ] = "read", [AUDIT_EXPORT] = "export", [AUDIT_ERASURE] = "erasure", [AUDIT_IDENTITY] = "identity"};

const char *audit_kind_name(unsigned kind)
{
    return kind < AUDIT_KINDS ? kinds[kind] : NULL;
}

static_assert(ERASURE_HASH_BYTES == AUDIT_TARGET_BYTES && ERASURE_ALIAS_BYTES == AUDIT_TARGET_BYTES, "one size in hex");

/* --- writing -------------------------------------------------------------------------------------------------- */

static void add_hex(struct buf *b, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        buf_add_char(b, digits[bytes[i] >> 4]);
        buf_add_char(b, digits[bytes[i] & 15]);
    }
}

static void add_targets(struct buf *b, const struct audit_record *r)
{
    json_write_key(b, "targets");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->target_count; i++) {
        buf_add_text(b, i ? ",\"" : "\"");
        add_hex(b, r->targets[i], AUDIT_TARGET_BYTES);
        buf_add_char(b, '"');
    }
    buf_add_char(b, ']');
}

static void add_erasure(struct buf *b, const struct audit_erasure *e)
{
    buf_add_text(b, ",\"erasure\":{\"hash\":\"");
    add_hex(b, e->hash, sizeof e->hash);
    buf_add_text(b, "\",\"alias\":\"");
    add_hex(b, e->alias, sizeof e->alias);
    buf_add_text(b, "\",\"until\":\"");
    time_write(b, e->until);
    buf_addf(b, "\",\"partition\":%" PRIu32 "}", e->partition);
}

void audit_line_write(struct buf *b, const struct audit_record *r)
{
    buf_add_text(b, "{\"time\":\"");
    time_write(b, r->time);
    buf_addf(b, "\",\"number\":%" PRIu64, r->number);
    json_write_member(b, "instance", r->instance);
    json_write_member(b, "kind", str_of(audit_kind_name(r->kind)));
    json_write_member(b, "who", r->who);
    json_write_member(b, "from", r->from);
    json_write_member(b, "method", r->method);
    json_write_member(b, "route", r->route);
    add_targets(b, r);
    buf_addf(b, ",\"count\":%" PRIu64 ",\"status\":%u", r->count, r->status);
    json_write_member(b, "request", r->request);
    if (r->forwarded)
        buf_add_text(b, ",\"forwarded\":true");
    if (r->erases)
        add_erasure(b, &r->erasure);
    buf_add_text(b, "}\n");
}

/* --- reading -------------------------------------------------------------------------------------------------- */

static bool get_text(const struct json *o, const char *key, struct str *out)
{
    const struct json *v = json_get(o, key);

    if (!v || v->type != JSON_STRING)
        return false;
    *out = v->text;
    return true;
}

static bool get_number(const struct json *o, const char *key, uint64_t *out)
{
    const struct json *v = json_get(o, key);

    return v && num_u64(v->raw, out) == NUM_OK;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 16 bytes, as all that stands in hex has. */
static bool get_hex(const struct json *v, unsigned char out[AUDIT_TARGET_BYTES])
{
    if (!v || v->type != JSON_STRING || v->text.n != 2 * AUDIT_TARGET_BYTES)
        return false;
    for (size_t i = 0; i < AUDIT_TARGET_BYTES; i++) {
        int high = digit(v->text.p[2 * i]), low = digit(v->text.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool get_targets(const struct json *o, struct arena *a, struct audit_record *out)
{
    const struct json *list = json_get(o, "targets");
    unsigned char(*targets)[AUDIT_TARGET_BYTES];
    size_t n = 0;

    if (!list || list->type != JSON_ARRAY || list->count > LIMIT_AUDIT_TARGETS)
        return false;
    targets = arena_alloc(a, (list->count + 1) * sizeof *targets);
    if (!targets)
        return false;
    for (const struct json *v = list->child; v; v = v->next)
        if (!get_hex(v, targets[n++]))
            return false;
    out->targets = (const unsigned char(*)[AUDIT_TARGET_BYTES])targets;
    out->target_count = n;
    return true;
}

static bool get_kind(const struct json *o, unsigned *out)
{
    struct str text;

    if (!get_text(o, "kind", &text))
        return false;
    for (*out = AUDIT_READ; *out < AUDIT_KINDS; (*out)++)
        if (str_is(text, kinds[*out]))
            return true;
    return false;
}

/* True also when there is none. */
static bool get_erasure(const struct json *o, struct audit_record *out)
{
    const struct json *e = json_get(o, "erasure");
    struct str until;
    uint64_t partition;

    if (!e)
        return true;
    if (!get_hex(json_get(e, "hash"), out->erasure.hash) || !get_hex(json_get(e, "alias"), out->erasure.alias) ||
        !get_text(e, "until", &until) || time_parse(until, &out->erasure.until) != 0 ||
        !get_number(e, "partition", &partition) || partition >= LIMIT_PARTITIONS)
        return false;
    out->erasure.partition = (uint32_t)partition;
    out->erases = true;
    return true;
}

bool audit_line_read(struct json_parser *p, char *line, size_t n, struct arena *a, struct audit_record *out)
{
    const struct json *o, *forwarded;
    struct audit_record r = {0};
    struct str time;
    uint64_t status;

    if (json_parse(p, line, n, &o, NULL) != JSON_OK || o->type != JSON_OBJECT)
        return false;
    if (!get_text(o, "time", &time) || time_parse(time, &r.time) != 0 || !get_number(o, "number", &r.number) ||
        !get_number(o, "count", &r.count) || !get_number(o, "status", &status) || status > 999 ||
        !get_kind(o, &r.kind) || !get_text(o, "instance", &r.instance) || !get_text(o, "who", &r.who) ||
        !get_text(o, "from", &r.from) || !get_text(o, "method", &r.method) || !get_text(o, "route", &r.route) ||
        !get_targets(o, a, &r) || !get_erasure(o, &r))
        return false;
    r.status = (unsigned)status;
    (void)get_text(o, "request", &r.request);
    forwarded = json_get(o, "forwarded");
    r.forwarded = forwarded && forwarded->type == JSON_TRUE;
    *out = r;
    return true;
}
