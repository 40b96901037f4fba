/* Readers of the entries of profiler.webhooks: whom to tell, signed with what, of whom and what. Nothing of a secret is
 * ever shown. One thread, at start-up. */
#include <assert.h>
#include <sodium.h>

#include "common/conf_inside.h"

#define URL_BYTES 2048
#define SECRET_BYTES 512
#define KEY_LEAST 16 /* bytes; what is shorter can be guessed */

static bool is_local(const char *rest)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        size_t n = strlen(hosts[i]);

        if (strncmp(rest, hosts[i], n) == 0 && (rest[n] == '\0' || rest[n] == '/' || rest[n] == ':' || rest[n] == '?'))
            return true;
    }
    return false;
}

/* A name in front of the host would make another host of what stands there. */
static bool good_url(const char *url)
{
    const char *rest = strncmp(url, "https://", 8) == 0 ? url + 8 : strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
    size_t host = rest ? strcspn(rest, "/?#") : 0;

    if (host == 0 || memchr(rest, '@', host) || strpbrk(url, " \\#\"<>"))
        return false;
    return url[4] == 's' || is_local(rest);
}

/* What is refused is not shown: it may hold a secret. */
static bool read_webhook_url(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char what[] = "a URL that begins with https://, or http:// to this machine (localhost, 127.0.0.1)";
    struct str text;

    if (!conf_text(s, row, n, URL_BYTES, what, &text))
        return false;
    const char *url = conf_copy(s, text);
    if (!url)
        return false;
    if (!good_url(url)) {
        conf_error(s, n, "%s: needs %s", row->path, what);
        return false;
    }
    *(const char **)conf_field(row, base) = url;
    return true;
}

static bool read_webhook_secret(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char prefix[] = "whsec_";
    struct conf_webhook *hook = base;
    struct str text;

    if (!conf_text(s, row, n, SECRET_BYTES, "a secret", &text))
        return false;
    unsigned char *key = conf_alloc(s, text.n + 1);
    if (!key)
        return false;
    size_t bytes = text.n;
    if (str_starts(text, STR_LIT(prefix))) {
        text = (struct str){text.p + sizeof prefix - 1, text.n - (sizeof prefix - 1)};
        if (sodium_base642bin(key, text.n, text.p, text.n, "", &bytes, NULL, sodium_base64_VARIANT_ORIGINAL) != 0) {
            conf_error(s, n, "%s: needs base64 behind whsec_", row->path);
            return false;
        }
    } else {
        memcpy(key, text.p, text.n);
    }
    if (bytes < KEY_LEAST) {
        conf_error(s, n, "%s: needs a key of at least %d bytes, this one has %zu", row->path, KEY_LEAST, bytes);
        return false;
    }
    hook->key = key;
    hook->key_bytes = bytes;
    return true;
}

static bool read_names(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base,
                       size_t most)
{
    bool good = true;

    if (n->kind != CONF_LIST_NODE) {
        conf_error(s, n, "%s: needs a list%s", row->path, conf_null(n) ? "; [] is an empty one" : "");
        return false;
    }
    if (n->n > most) {
        conf_error(s, n, "%s: has %zu entries, the most is %zu", row->path, n->n, most);
        return false;
    }
    const char **names = conf_alloc(s, n->n * sizeof *names);
    if (!names)
        return false;
    for (size_t i = 0; i < n->n; i++) {
        struct str text;

        names[i] = conf_text(s, row, n->items[i], 256, "names", &text) ? conf_copy(s, text) : NULL;
        good = good && names[i];
    }
    *(const char ***)conf_field(row, base) = names;
    *(size_t *)((char *)base + row->count_offset) = good ? n->n : 0;
    return good;
}

static bool read_webhook_names(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    return read_names(s, row, n, base, LIMIT_WEBHOOK_NAMES);
}

static bool read_webhook_audiences(struct conf_state *s, const struct conf_row *row, const struct conf_node *n,
                                   void *base)
{
    struct conf_webhook *hook = base;

    if (n->kind == CONF_SCALAR && str_is(n->text, "all")) {
        hook->all = true;
        return true;
    }
    if (n->kind == CONF_SCALAR && !conf_null(n)) {
        conf_error(s, n, "%s: needs a list of names, or the word all", row->path);
        return false;
    }
    return read_names(s, row, n, base, LIMIT_AUDIENCES);
}

static void check_given(struct conf_state *s, const struct conf_node *n, const struct conf_node *const *seen)
{
    static const char *const needed[] = {"name", "url", "secret", "audiences"};

    for (size_t i = 0; i < conf_webhook_row_count; i++)
        for (size_t k = 0; k < sizeof needed / sizeof *needed; k++)
            if (!seen[i] && strcmp(conf_webhook_rows[i].path, needed[k]) == 0)
                conf_error(s, n, "a webhook needs `%s`", needed[k]);
}

static void read_webhook(struct conf_state *s, const struct conf_node *n, struct conf_webhook *out)
{
    const struct conf_node *seen[16] = {0};

    assert(conf_webhook_row_count <= 16);
    *out = (struct conf_webhook){0};
    if (n->kind != CONF_MAP_NODE) {
        conf_error(s, n, "needs a webhook such as {name: crm, url: https://…, secret: whsec_…, audiences: [loyal]}");
        return;
    }
    conf_read_map(s, conf_webhook_rows, conf_webhook_row_count, "", n, out, seen);
    check_given(s, n, seen);
}

static bool read_webhooks(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    size_t before = s->error_count;

    if (n->kind != CONF_LIST_NODE && !conf_null(n)) {
        conf_error(s, n, "%s: needs a list", row->path);
        return false;
    }
    if (n->n > LIMIT_WEBHOOKS) {
        conf_error(s, n, "%s: has %zu entries, the most is %d", row->path, n->n, LIMIT_WEBHOOKS);
        return false;
    }
    struct conf_webhook *hooks = conf_alloc(s, n->n * sizeof *hooks);
    if (!hooks)
        return false;
    for (size_t i = 0; i < n->n; i++) {
        read_webhook(s, n->items[i], &hooks[i]);
        for (size_t k = 0; k < i; k++)
            if (hooks[i].name && hooks[k].name && strcmp(hooks[i].name, hooks[k].name) == 0)
                conf_error(s, n->items[i], "the webhook in line %u has the name %s too", n->items[k]->line,
                           conf_shown(s, str_of(hooks[i].name)));
    }
    *(struct conf_webhook **)conf_field(row, base) = hooks;
    *(size_t *)((char *)base + row->count_offset) = n->n;
    return s->error_count == before;
}

const struct conf_type conf_type_webhooks = {"list of webhooks", read_webhooks, NULL};
const struct conf_type conf_type_webhook_url = {"URL", read_webhook_url, NULL};
const struct conf_type conf_type_webhook_secret = {"text", read_webhook_secret, NULL};
const struct conf_type conf_type_webhook_audiences = {"`all` or list of names", read_webhook_audiences, NULL};
const struct conf_type conf_type_webhook_names = {"list of names", read_webhook_names, NULL};
