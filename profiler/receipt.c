/* Receipts of erasures as JSON. Pure but for the key that signs. */
#include "profiler/receipt.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/num.h"

/* --- ids ------------------------------------------------------------------------------------------------------ */

void receipt_id(char out[RECEIPT_ID_BYTES], uint32_t partition, int64_t offset)
{
    snprintf(out, RECEIPT_ID_BYTES, "%" PRIu32 "-%" PRId64, partition, offset);
}

bool receipt_id_read(struct str text, uint32_t partitions, uint32_t *partition, int64_t *offset)
{
    const char *line = text.n ? memchr(text.p, '-', text.n) : NULL;
    uint64_t p, o;

    if (!line || num_u64((struct str){text.p, (size_t)(line - text.p)}, &p) != NUM_OK ||
        num_u64((struct str){line + 1, text.n - (size_t)(line + 1 - text.p)}, &o) != NUM_OK)
        return false;
    if (p >= partitions || o >= INT64_MAX)
        return false;
    *partition = (uint32_t)p;
    *offset = (int64_t)o;
    return true;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static void write_hex(struct buf *b, const char *key, const unsigned char *bytes, size_t n)
{
    char text[2 * SEAL_ERASURE_KEY_BYTES + 1];

    sodium_bin2hex(text, sizeof text, bytes, n);
    json_write_member(b, key, str_of(text));
}

static void write_time(struct buf *b, const char *key, int64_t time)
{
    json_write_key(b, key);
    buf_add_char(b, '"');
    time_write(b, time);
    buf_add_char(b, '"');
}

static void write_done(struct buf *b, const struct receipt *r)
{
    buf_add_text(b, ",\"done\":[\"profile\",\"path\",\"traits\",\"devices\",\"orders\",\"state_files\"");
    if (r->cache)
        buf_add_text(b, ",\"cache\"");
    if (!r->shared)
        buf_add_text(b, ",\"event_log\"");
    buf_add_char(b, ']');
}

/* The first day that begins when they are gone. */
static void write_day(struct buf *b, int64_t time)
{
    char text[40] = "";
    struct buf t;

    buf_init(&t, sizeof text);
    time_write(&t, time + TIME_DAY - 1);
    snprintf(text, sizeof text, "\"%.10s\"", t.n >= 10 ? t.p : "0000-00-00");
    buf_deinit(&t);
    buf_add_text(b, text);
}

/* What stands on the topics since before the erasure was ordered. */
static void write_kafka(struct buf *b, const struct receipt *r)
{
    if (!r->shared)
        return;
    buf_add_text(b, ",\"kafka\":{\"ids_and_behaviour_until\":");
    if (r->kept > 0)
        write_day(b, r->erasure->time + r->kept);
    else
        buf_add_text(b, "null");
    buf_addf(b, ",\"why\":\"%s\"}",
             r->kept > 0    ? "personal values stand there sealed; the rest goes with the topic's retention, once its "
                              "segment is past it"
             : r->kept == 0 ? "personal values stand there sealed; the topic keeps the rest for ever"
                            : "personal values stand there sealed; the brokers do not say how long the rest is kept");
}

#define BACKUPS                                                                                                        \
    "copies made before completed_at hold the person until they are deleted; one that is restored erases the person "  \
    "again before it shows anything"
#define FORMER                                                                                                         \
    "; a profiler that is down, or has no partition, may hold the person in what it keeps of one that it had, until "  \
    "profiler.keep_lost after it is up"

static void write_receipt(struct buf *b, const struct receipt *r)
{
    const struct state_erasure *e = r->erasure;

    buf_add_char(b, '{');
    json_write_member(b, "id", str_of(r->id));
    write_hex(b, "profile_hash", e->hash, sizeof e->hash);
    write_time(b, "requested_at", e->time);
    write_time(b, "until", e->until);
    write_time(b, "completed_at", r->completed);
    buf_addf(b, ",\"events\":%" PRIu64 ",\"devices\":%" PRIu64 ",\"orders\":%" PRIu64, e->events, e->devices,
             e->orders);
    write_done(b, r);
    write_kafka(b, r);
    json_write_member(b, "backups", r->shared ? STR_LIT(BACKUPS FORMER) : STR_LIT(BACKUPS));
    buf_add_char(b, '}');
}

static void write_base64(struct buf *b, const char *key, const unsigned char *bytes, size_t n)
{
    char text[sodium_base64_ENCODED_LEN(128, sodium_base64_VARIANT_ORIGINAL)];

    sodium_bin2base64(text, sizeof text, bytes, n, sodium_base64_VARIANT_ORIGINAL);
    json_write_member(b, key, str_of(text));
}

static void write_signature(struct buf *b, const struct seal_signature *s)
{
    unsigned char public[SEAL_RECEIPT_DER_BYTES];

    seal_receipt_der(s->pub, public);
    buf_add_char(b, '{');
    json_write_member(b, "key", str_of(s->id));
    write_base64(b, "public_key", public, sizeof public);
    write_base64(b, "ed25519", s->bytes, sizeof s->bytes);
    buf_add_char(b, '}');
}

void receipt_write(struct buf *b, const struct receipt *r, struct seal_keys *keys)
{
    struct seal_signature s;

    buf_add_char(b, '{');
    json_write_member(b, "id", str_of(r->id));
    json_write_member(b, "status", STR_LIT("done"));
    json_write_key(b, "receipt");
    size_t begin = b->n;
    write_receipt(b, r);
    json_write_key(b, "signature");
    struct str signed_bytes = {b->p + begin, b->n - begin - strlen(",\"signature\":")};
    if (!b->failed && keys && seal_receipt_sign(keys, signed_bytes, &s) == SEAL_OK)
        write_signature(b, &s);
    else
        buf_add_text(b, "null");
    buf_add_char(b, '}');
}

/* --- between instances ---------------------------------------------------------------------------------------- */

static void write_number(struct buf *b, const char *key, int64_t n)
{
    json_write_key(b, key);
    buf_addf(b, "%" PRId64, n);
}

void erasure_write(struct buf *b, const struct state_erasure *e)
{
    buf_add_char(b, '{');
    write_hex(b, "hash", e->hash, sizeof e->hash);
    write_hex(b, "alias", e->alias, sizeof e->alias);
    write_number(b, "offset", e->offset);
    write_number(b, "time", e->time);
    write_number(b, "until", e->until);
    write_number(b, "events", (int64_t)e->events);
    write_number(b, "devices", (int64_t)e->devices);
    write_number(b, "orders", (int64_t)e->orders);
    buf_add_char(b, '}');
}

static bool read_hex(const struct json *o, const char *key, unsigned char *out, size_t n)
{
    const struct json *v = json_get(o, key);
    size_t got = 0;

    return v && v->type == JSON_STRING && v->text.n == 2 * n &&
           sodium_hex2bin(out, n, v->text.p, v->text.n, NULL, &got, NULL) == 0 && got == n;
}

static bool read_number(const struct json *o, const char *key, int64_t *out)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_NUMBER && num_integer(v->raw, INT64_MAX, out) == NUM_OK;
}

static bool read_erasure(const struct json *o, struct state_erasure *out)
{
    int64_t events, devices, orders;

    if (!read_hex(o, "hash", out->hash, sizeof out->hash) || !read_hex(o, "alias", out->alias, sizeof out->alias) ||
        !read_number(o, "offset", &out->offset) || !read_number(o, "time", &out->time) ||
        !read_number(o, "until", &out->until) || !read_number(o, "events", &events) ||
        !read_number(o, "devices", &devices) || !read_number(o, "orders", &orders))
        return false;
    out->events = (uint64_t)events;
    out->devices = (uint64_t)devices;
    out->orders = (uint64_t)orders;
    return events >= 0 && devices >= 0 && orders >= 0;
}

bool erasure_read(char *text, size_t n, struct state_erasure *out)
{
    struct json_parser *p = json_parser_new();
    const struct json *root;

    *out = (struct state_erasure){0};
    bool read = p && json_parse(p, text, n, &root, NULL) == JSON_OK && read_erasure(root, out);
    json_parser_free(p);
    return read;
}
