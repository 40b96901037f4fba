/* Cursors: fixed-width bytes and a check over them and the profile, in base64url. The check is no secret: who forges a
 * cursor only chooses where to begin reading what the token may read anyway. It finds what was cut or mixed up. Pure.
 */
#include "profiler/cursor.h"

#include <sodium.h>

#define CURSOR_VERSION 1
#define CURSOR_CHECK 8
#define CURSOR_BYTES (2 + 8 + 8 + 4 + UID_BYTES + 3 * 8 + CURSOR_CHECK)
#define CURSOR_BODY (CURSOR_BYTES - CURSOR_CHECK)
#define CURSOR_VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

enum { DESC = 1, ORDERS = 2 };

/* BLAKE2b takes from 16 bytes on; the first eight are enough to tell accidents. */
static void check_of(const char *body, struct str profile, char out[CURSOR_CHECK])
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, (const unsigned char *)body, CURSOR_BODY);
    crypto_generichash_update(&state, (const unsigned char *)profile.p, profile.n);
    crypto_generichash_final(&state, hash, sizeof hash);
    memcpy(out, hash, CURSOR_CHECK);
}

void cursor_write(struct buf *b, const struct cursor *c, struct str profile)
{
    char text[sodium_base64_ENCODED_LEN(CURSOR_BYTES, CURSOR_VARIANT)], check[CURSOR_CHECK];
    struct buf raw;

    buf_init(&raw, CURSOR_BYTES);
    buf_add_char(&raw, CURSOR_VERSION);
    buf_add_char(&raw, (char)((c->desc ? DESC : 0) | (c->orders ? ORDERS : 0)));
    buf_add_be64(&raw, (uint64_t)c->last.time);
    buf_add_be64(&raw, (uint64_t)c->last.received);
    buf_add_be32(&raw, c->last.position);
    buf_add(&raw, c->last.uid.b, UID_BYTES);
    buf_add_be64(&raw, (uint64_t)c->from);
    buf_add_be64(&raw, (uint64_t)c->to);
    buf_add_be64(&raw, (uint64_t)c->as_of);
    if (!raw.failed) {
        check_of(raw.p, profile, check);
        buf_add(&raw, check, CURSOR_CHECK);
    }
    if (raw.failed) {
        b->failed = true;
    } else {
        sodium_bin2base64(text, sizeof text, (const unsigned char *)raw.p, raw.n, CURSOR_VARIANT);
        buf_add_text(b, text);
    }
    buf_deinit(&raw);
}

static int64_t next_time(const char **p, const char *end)
{
    uint64_t v = 0;

    get_be64(p, end, &v);
    return (int64_t)v;
}

int cursor_read(struct str text, struct str profile, struct cursor *out)
{
    char raw[CURSOR_BYTES], check[CURSOR_CHECK];
    size_t n = 0;
    const char *text_end = NULL;

    if (text.n == 0 ||
        sodium_base642bin((unsigned char *)raw, sizeof raw, text.p, text.n, NULL, &n, &text_end, CURSOR_VARIANT) != 0)
        return 1;
    if (n != CURSOR_BYTES || text_end != text.p + text.n || raw[0] != CURSOR_VERSION ||
        (raw[1] & ~(DESC | ORDERS)) != 0)
        return 1;
    check_of(raw, profile, check);
    if (sodium_memcmp(check, raw + CURSOR_BODY, CURSOR_CHECK) != 0)
        return 1;
    const char *p = raw + 2, *end = raw + CURSOR_BODY;
    out->desc = (raw[1] & DESC) != 0;
    out->orders = (raw[1] & ORDERS) != 0;
    out->last.time = next_time(&p, end);
    out->last.received = next_time(&p, end);
    get_be32(&p, end, &out->last.position);
    memcpy(out->last.uid.b, p, UID_BYTES);
    p += UID_BYTES;
    out->from = next_time(&p, end);
    out->to = next_time(&p, end);
    out->as_of = next_time(&p, end);
    return 0;
}
