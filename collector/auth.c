/* Write keys. Called on the pool threads; the keys are those of the configuration, which does not change. */
#include "collector/auth.h"

#include <sodium.h>
#include <strings.h>

#include "common/limits.h"

static const struct conf_key *find_key(const struct conf_collector *conf, struct str given)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    const struct conf_key *found = NULL;

    crypto_hash_sha256(hash, (const unsigned char *)given.p, given.n);
    for (size_t i = 0; i < conf->key_count; i++) /* all of them, so that time tells nothing */
        if (sodium_memcmp(hash, conf->keys[i].sha256, sizeof hash) == 0)
            found = &conf->keys[i];
    return found;
}

static void offer(struct auth *a, struct str key, bool public_place)
{
    if (a->key || !str_has(key) || key.n == 0)
        return;
    a->given = true;
    if (key.n > LIMIT_KEY_BYTES)
        return;
    const struct conf_key *found = find_key(a->conf, key);
    if (found && !(public_place && found->kind == CONF_KEY_SERVER))
        a->key = found;
}

void auth_offer(struct auth *a, struct str key)
{
    offer(a, key, false);
}

void auth_offer_public(struct auth *a, struct str key)
{
    offer(a, key, true);
}

/* What follows a scheme and a space, or absent. */
static struct str after_scheme(struct str header, const char *scheme)
{
    size_t n = strlen(scheme);

    if (header.n <= n || strncasecmp(header.p, scheme, n) != 0 || (header.p[n] != ' ' && header.p[n] != '\t'))
        return STR_NONE;
    return str_trim((struct str){header.p + n, header.n - n});
}

static struct str before_colon(struct str s)
{
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;

    return colon ? (struct str){s.p, (size_t)(colon - s.p)} : s;
}

/* Padded or not, both alphabets: clients do it in each way. */
static struct str decode_base64(struct str s, struct arena *a)
{
    static const int variants[] = {sodium_base64_VARIANT_ORIGINAL_NO_PADDING, sodium_base64_VARIANT_URLSAFE_NO_PADDING};
    unsigned char *out;
    size_t n;

    while (s.n > 0 && s.p[s.n - 1] == '=')
        s.n--;
    if (s.n == 0 || s.n > 2 * LIMIT_KEY_BYTES || !(out = arena_alloc(a, s.n)))
        return STR_NONE;
    for (size_t i = 0; i < 2; i++)
        if (sodium_base642bin(out, s.n, s.p, s.n, NULL, &n, NULL, variants[i]) == 0)
            return (struct str){(const char *)out, n};
    return STR_NONE;
}

struct str auth_authorization(struct str header, struct arena *a)
{
    header = str_trim(header);
    struct str basic = after_scheme(header, "Basic");
    if (str_has(basic)) {
        struct str pair = decode_base64(basic, a);
        return str_has(pair) ? before_colon(pair) : basic;
    }
    return after_scheme(header, "Bearer");
}

struct str auth_x_write_key(struct str header)
{
    return before_colon(str_trim(header));
}

bool auth_origin_allowed(const struct conf_key *key, struct str origin)
{
    if (!str_has(origin) || key->origin_count == 0)
        return true;
    for (size_t i = 0; i < key->origin_count; i++)
        if (strlen(key->origins[i]) == origin.n && strncasecmp(key->origins[i], origin.p, origin.n) == 0)
            return true;
    return false;
}
