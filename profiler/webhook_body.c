/* Bodies and signatures of webhooks; see webhook_body.h. Any thread. */
#include "profiler/webhook_body.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/json.h"

static void write_time(struct buf *b, const char *key, int64_t time)
{
    if (time == TIME_NONE)
        return;
    json_write_key(b, key);
    buf_add_char(b, '"');
    time_write(b, time);
    buf_add_char(b, '"');
}

static void write_event(struct buf *b, const struct audience_change *c)
{
    if (!str_has(c->message_id))
        return;
    buf_add_text(b, ",\"event\":{\"message_id\":");
    json_write_str(b, c->message_id);
    json_write_member(b, "name", c->event_name);
    write_time(b, "time", c->event_time);
    buf_add_char(b, '}');
}

bool webhook_body_write(const struct audience_change *c, struct str traits, struct str tags, struct buf *out)
{
    buf_addf(out, "{\"type\":\"audience.%s\"", c->entered ? "entered" : "left");
    write_time(out, "timestamp", c->time);
    buf_add_text(out, ",\"data\":{\"audience\":");
    json_write_str(out, c->audience);
    json_write_member(out, "id", c->id);
    write_time(out, "time", c->time);
    write_time(out, "entered_at", c->entered_at);
    json_write_member(out, "because", str_of(audience_change_because(c->because)));
    write_event(out, c);
    buf_add_text(out, ",\"traits\":");
    buf_add_str(out, traits);
    buf_add_text(out, ",\"tags\":");
    buf_add_str(out, tags);
    buf_add_text(out, "}}");
    return !out->failed;
}

static void write_chosen(const struct json *root, const char *const *names, size_t n, struct buf *out)
{
    const char *comma = "";

    buf_add_char(out, '{');
    for (size_t i = 0; i < n; i++) {
        const struct json *v = json_get(root, names[i]);

        if (!v)
            continue;
        buf_add_text(out, comma);
        json_write_str(out, str_of(names[i]));
        buf_add_char(out, ':');
        buf_add_str(out, v->raw);
        comma = ",";
    }
    buf_add_char(out, '}');
}

int webhook_choose(struct str object, const char *const *names, size_t n, struct arena *a, struct buf *out)
{
    struct json_parser *p = json_parser_new();
    char *copy = arena_alloc(a, object.n + JSON_PADDING);
    const struct json *root;
    int rc = -ENOMEM;

    if (p && copy) {
        memcpy(copy, object.p, object.n);
        memset(copy + object.n, 0, JSON_PADDING);
        rc = json_parse(p, copy, object.n, &root, NULL);
        rc = rc == -ENOMEM ? rc : rc != JSON_OK || root->type != JSON_OBJECT;
    }
    if (rc == 0)
        write_chosen(root, names, n, out);
    json_parser_free(p);
    return rc;
}

void webhook_sign(const unsigned char *key, size_t key_bytes, const char *id, int64_t seconds, struct str body,
                  char out[WEBHOOK_SIGNATURE_BYTES])
{
    crypto_auth_hmacsha256_state h;
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    char at[32];
    int n = snprintf(at, sizeof at, ".%" PRId64 ".", seconds);

    static_assert(WEBHOOK_SIGNATURE_BYTES ==
                      3 + sodium_base64_ENCODED_LEN(crypto_auth_hmacsha256_BYTES, sodium_base64_VARIANT_ORIGINAL),
                  "it fits");
    crypto_auth_hmacsha256_init(&h, key, key_bytes);
    crypto_auth_hmacsha256_update(&h, (const unsigned char *)id, strlen(id));
    crypto_auth_hmacsha256_update(&h, (const unsigned char *)at, (size_t)n);
    if (body.n)
        crypto_auth_hmacsha256_update(&h, (const unsigned char *)body.p, body.n);
    crypto_auth_hmacsha256_final(&h, mac);
    sodium_memzero(&h, sizeof h);
    memcpy(out, "v1,", 3);
    sodium_bin2base64(out + 3, WEBHOOK_SIGNATURE_BYTES - 3, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
}
