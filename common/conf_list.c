/* Readers of the options that are lists: words, write keys, tokens. The only file of the configuration that hashes. */
#include <assert.h>
#include <sodium.h>

#include "common/conf_inside.h"
#include "common/event_log.h"

#define ENTRIES_OF_KEYS 1000 /* compared pair by pair */

/* A list of at most `most` entries; null is an empty one where `null_is_empty`. */
static bool check_list(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, size_t most,
                       bool null_is_empty)
{
    if (n->kind != CONF_LIST_NODE && !(null_is_empty && conf_null(n))) {
        conf_error(s, n, "%s: needs a list%s", row->path, conf_null(n) ? "; [] is an empty one" : "");
        return false;
    }
    if (n->n > most) {
        conf_error(s, n, "%s: has %zu entries, the most is %zu", row->path, n->n, most);
        return false;
    }
    return true;
}

static char *lower_copy(struct conf_state *s, struct str text)
{
    char *p = conf_alloc(s, text.n + 1);

    for (size_t i = 0; p && i < text.n; i++)
        p[i] = text.p[i] >= 'A' && text.p[i] <= 'Z' ? (char)(text.p[i] + 32) : text.p[i];
    if (p)
        p[text.n] = '\0';
    return p;
}

/* Whether it is host or host:port, in lower case. */
static bool good_host(const char *host, bool with_port)
{
    size_t n = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-");

    if (n == 0 || n > 253 || host[0] == '.' || host[n - 1] == '.')
        return false;
    if (with_port && host[n] == ':' && host[n + 1])
        n += 1 + strspn(host + n + 1, "0123456789");
    return host[n] == '\0';
}

static bool good_origin(const char *origin)
{
    const char *host = strstr(origin, "://");

    if (!host || strspn(origin, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != (size_t)(host - origin))
        return false;
    return good_host(host + 3, true);
}

static bool good_parameter(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-.");

    return n > 0 && n <= 64 && name[n] == '\0';
}

static bool good_word(const struct conf_row *row, const char *word)
{
    return row->type == &conf_type_origins      ? good_origin(word)
           : row->type == &conf_type_parameters ? good_parameter(word)
                                                : good_host(word, false);
}

static bool read_words(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base,
                       const char *what)
{
    bool origins = row->type == &conf_type_origins, good = true;
    size_t count = 0;

    if (!check_list(s, row, n, row->type == &conf_type_parameters ? 1000 : CONF_LIST, origins))
        return false;
    const char **words = conf_alloc(s, n->n * sizeof *words);
    if (!words)
        return false;
    for (size_t i = 0; i < n->n; i++) {
        struct str text;
        const char *word = conf_text(s, row, n->items[i], 512, what, &text) ? lower_copy(s, text) : NULL;
        if (!word) {
            good = false;
        } else if (!good_word(row, word)) {
            conf_error(s, n->items[i], "%s: needs %s, not %s", row->path, what, conf_shown(s, text));
            good = false;
        } else {
            words[count++] = word;
        }
    }
    *(const char ***)conf_field(row, base) = words;
    *(size_t *)((char *)base + row->count_offset) = count;
    return good;
}

static bool read_hosts(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    return read_words(s, row, n, base, "host names such as paypal.com");
}

static bool read_origins(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    return read_words(s, row, n, base, "origins such as https://www.example.com, without a path");
}

static bool read_parameters(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    return read_words(s, row, n, base, "names such as email or access_token");
}

/* An entry that YAML reads as null means the word. */
static bool blocked_id(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, struct str *out)
{
    if (n->kind != CONF_SCALAR || n->text.n > LIMIT_ID_BYTES) {
        conf_error(s, n, "%s: needs ids of at most %d bytes", row->path, LIMIT_ID_BYTES);
        return false;
    }
    *out = conf_null(n) ? STR_LIT("null") : n->text;
    return true;
}

static bool read_ids(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    bool good = true;
    size_t count = 0;

    if (!check_list(s, row, n, CONF_LIST, false))
        return false;
    struct str *ids = conf_alloc(s, n->n * sizeof *ids);
    if (!ids)
        return false;
    for (size_t i = 0; i < n->n; i++) {
        if (!blocked_id(s, row, n->items[i], &ids[count]))
            good = false;
        else if (ids[count].n > 0) /* the empty one is blocked in any case */
            count++;
    }
    struct conf_blocked *set = conf_blocked_new(s, ids, count);
    *(struct conf_blocked **)conf_field(row, base) = set;
    return good && set != NULL;
}

static const char *const scope_names[] = {"lookup", "pii", "audience", "export", "admin"};
#define SCOPES (sizeof scope_names / sizeof *scope_names)

const char *conf_scope_name(unsigned i)
{
    return i < SCOPES ? scope_names[i] : NULL;
}

static bool read_scopes(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    unsigned *scopes = conf_field(row, base);
    bool good = true;

    if (!check_list(s, row, n, 100, false))
        return false;
    if (n->n == 0) {
        conf_error(s, n, "%s: a token without a scope may do nothing", row->path);
        return false;
    }
    for (size_t i = 0; i < n->n; i++) {
        const struct conf_node *item = n->items[i];
        unsigned scope = 0;
        for (unsigned k = 0; k < SCOPES && item->kind == CONF_SCALAR; k++)
            if (str_is(item->text, scope_names[k]))
                scope = 1u << k;
        if (scope == 0)
            conf_error(s, item, "%s: must be of lookup, pii, audience, export and admin, not %s", row->path,
                       item->kind == CONF_SCALAR ? conf_shown(s, item->text) : "a list or map");
        good = good && scope != 0;
        *scopes |= scope;
    }
    return good;
}

static const struct conf_node *given(const struct conf_row *rows, size_t count, const struct conf_node *const *seen,
                                     const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].path, name) == 0)
            return seen[i];
    assert(false);
    return NULL;
}

static void refuse_empty_hash(struct conf_state *s, const struct conf_node *at, const unsigned char *hash)
{
    unsigned char of_nothing[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(of_nothing, NULL, 0);
    if (at && memcmp(hash, of_nothing, sizeof of_nothing) == 0)
        conf_error(s, at, "sha256: is the hash of nothing, which is no secret");
}

/* --- write keys --- */

#define GIVEN_KEY(name) given(conf_key_rows, conf_key_row_count, seen, name)

static void check_beacon(struct conf_state *s, const struct conf_node *n, struct conf_key *key,
                         const struct conf_node *const *seen)
{
    if (GIVEN_KEY("sha256"))
        conf_error(s, GIVEN_KEY("sha256"), "a beacon key is public: it stands here itself, as `key`, not its sha256");
    else if (!GIVEN_KEY("key"))
        conf_error(s, n, "a beacon key needs `key`, the key itself");
    if (key->key)
        crypto_hash_sha256(key->sha256, (const unsigned char *)key->key, strlen(key->key));
}

static void check_server(struct conf_state *s, const struct conf_node *n, struct conf_key *key,
                         const struct conf_node *const *seen)
{
    if (GIVEN_KEY("key"))
        conf_error(s, GIVEN_KEY("key"),
                   "a server key is secret and does not stand here: put its hash as `sha256`, which is what "
                   "`printf %%s KEY | sha256sum` prints");
    else if (!GIVEN_KEY("sha256"))
        conf_error(s, n, "a server key needs `sha256`, its SHA-256 in hex");
    if (GIVEN_KEY("origins"))
        conf_error(s, GIVEN_KEY("origins"), "only a beacon key may carry origins");
    refuse_empty_hash(s, GIVEN_KEY("sha256"), key->sha256);
    key->key = NULL;
}

static void read_key(struct conf_state *s, const struct conf_node *n, struct conf_key *out)
{
    struct conf_key_entry entry = {0};
    const struct conf_node *seen[16] = {0};

    assert(conf_key_row_count <= 16);
    *out = entry.key;
    if (n->kind != CONF_MAP_NODE) {
        conf_error(s, n, "needs a key such as {name: web, kind: beacon, key: …}");
        return;
    }
    conf_read_map(s, conf_key_rows, conf_key_row_count, "", n, &entry, seen);
    if (!GIVEN_KEY("name"))
        conf_error(s, n, "a key needs a `name`");
    const struct conf_node *kind = GIVEN_KEY("kind");
    if (!kind)
        conf_error(s, n, "a key needs a `kind`: beacon or server");
    entry.key.kind = entry.server ? CONF_KEY_SERVER : CONF_KEY_BEACON;
    if (!GIVEN_KEY("source"))
        entry.key.source = entry.key.name;
    /* What else it must have hangs on its kind. */
    if (entry.server)
        check_server(s, n, &entry.key, seen);
    else if (kind && kind->kind == CONF_SCALAR && str_is(kind->text, "beacon"))
        check_beacon(s, n, &entry.key, seen);
    *out = entry.key;
}

static bool is_hash(const unsigned char *hash)
{
    return !sodium_is_zero(hash, 32);
}

static void compare_keys(struct conf_state *s, const struct conf_node *list, const struct conf_key *keys, size_t i)
{
    const struct conf_node *at = list->items[i];

    for (size_t j = 0; j < i; j++) {
        const struct conf_key *a = &keys[j], *b = &keys[i];
        unsigned line = list->items[j]->line;
        if (a->name && b->name && strcmp(a->name, b->name) == 0)
            conf_error(s, at, "the key in line %u has the name %s too", line, conf_shown(s, str_of(b->name)));
        if (is_hash(a->sha256) && memcmp(a->sha256, b->sha256, 32) == 0)
            conf_error(s, at, "this is the same key as that in line %u", line);
        if (a->source && b->source && strcmp(a->source, b->source) == 0 && a->kind != b->kind) {
            conf_error(s, at,
                       "the key in line %u gives the source %s the other kind: what a public key says would "
                       "be taken for the back end's word",
                       line, conf_shown(s, str_of(b->source)));
            break;
        }
    }
}

static bool read_keys(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    size_t before = s->error_count;

    if (!check_list(s, row, n, ENTRIES_OF_KEYS, true))
        return false;
    struct conf_key *keys = conf_alloc(s, n->n * sizeof *keys);
    if (!keys)
        return false;
    for (size_t i = 0; i < n->n; i++) {
        read_key(s, n->items[i], &keys[i]);
        compare_keys(s, n, keys, i);
    }
    *(struct conf_key **)conf_field(row, base) = keys;
    *(size_t *)((char *)base + row->count_offset) = n->n;
    return s->error_count == before;
}

/* --- tokens --- */

#define GIVEN_TOKEN(name) given(conf_token_rows, conf_token_row_count, seen, name)

static void read_token(struct conf_state *s, const struct conf_node *n, struct conf_token *out)
{
    const struct conf_node *seen[16] = {0};

    assert(conf_token_row_count <= 16);
    *out = (struct conf_token){0};
    if (n->kind != CONF_MAP_NODE) {
        conf_error(s, n, "needs a token such as {name: site, sha256: …, scopes: [lookup]}");
        return;
    }
    conf_read_map(s, conf_token_rows, conf_token_row_count, "", n, out, seen);
    if (!GIVEN_TOKEN("name"))
        conf_error(s, n, "a token needs a `name`");
    if (!GIVEN_TOKEN("sha256"))
        conf_error(s, n, "a token needs `sha256`, its SHA-256 in hex");
    if (!GIVEN_TOKEN("scopes"))
        conf_error(s, n, "a token needs `scopes`");
    refuse_empty_hash(s, GIVEN_TOKEN("sha256"), out->sha256);
}

static void compare_tokens(struct conf_state *s, const struct conf_node *list, const struct conf_token *tokens,
                           size_t i)
{
    for (size_t j = 0; j < i; j++) {
        const struct conf_token *a = &tokens[j], *b = &tokens[i];
        unsigned line = list->items[j]->line;
        if (a->name && b->name && strcmp(a->name, b->name) == 0)
            conf_error(s, list->items[i], "the token in line %u has the name %s too", line,
                       conf_shown(s, str_of(b->name)));
        if (is_hash(a->sha256) && memcmp(a->sha256, b->sha256, 32) == 0)
            conf_error(s, list->items[i], "this is the same token as that in line %u", line);
    }
}

struct conf_token *conf_token_list(struct conf_state *s, const struct conf_node *n)
{
    struct conf_token *tokens = conf_alloc(s, n->n * sizeof *tokens);

    for (size_t i = 0; i < n->n && tokens; i++) {
        read_token(s, n->items[i], &tokens[i]);
        compare_tokens(s, n, tokens, i);
    }
    return tokens;
}

static bool read_tokens(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    size_t before = s->error_count;

    if (!check_list(s, row, n, CONF_TOKENS, true))
        return false;
    struct conf_token *tokens = conf_token_list(s, n);
    if (!tokens)
        return false;
    *(struct conf_token **)conf_field(row, base) = tokens;
    *(size_t *)((char *)base + row->count_offset) = n->n;
    return s->error_count == before;
}

const struct conf_type conf_type_hosts = {"list of hosts", read_hosts, NULL};
/* Values are texts whatever YAML takes them for: librdkafka reads them itself. */
static bool read_property(struct conf_state *s, const struct conf_row *row, const struct conf_node *key,
                          const struct conf_node *value, struct kafka_property *out)
{
    struct err e = {0};
    struct str text;

    if (value->kind != CONF_SCALAR || conf_null(value) || value->text.n > LIMIT_TEXT_BYTES) {
        conf_error(s, value, "%s.%s: needs one value", row->path, conf_shown(s, key->text));
        return false;
    }
    text = value->text;
    if (memchr(text.p, '\0', text.n) || memchr(key->text.p, '\0', key->text.n)) {
        conf_error(s, value, "%s.%s: holds a control character", row->path, conf_shown(s, key->text));
        return false;
    }
    *out = (struct kafka_property){conf_copy(s, key->text), conf_copy(s, text)};
    if (!out->name || !out->value)
        return false;
    if (event_log_kafka_check(out, &e) == 0)
        return true;
    conf_error(s, key, "%s: %s", row->path, e.text);
    return false;
}

static bool read_properties(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    struct conf *c = base;
    bool good = true;

    if (conf_null(n))
        return true;
    if (n->kind != CONF_MAP_NODE || n->n > LIMIT_KAFKA_PROPERTIES) {
        conf_error(s, n, "%s: needs a map of at most %d properties", row->path, LIMIT_KAFKA_PROPERTIES);
        return false;
    }
    c->kafka_properties = conf_alloc(s, (n->n + 1) * sizeof *c->kafka_properties);
    if (!c->kafka_properties)
        return false;
    for (size_t i = 0; i < n->n; i++)
        good = read_property(s, row, n->keys[i], n->items[i], &c->kafka_properties[i]) && good;
    c->kafka_property_count = good ? n->n : 0;
    return good;
}

const struct conf_type conf_type_properties = {"map", read_properties, NULL};
const struct conf_type conf_type_origins = {"list of origins", read_origins, NULL};
const struct conf_type conf_type_parameters = {"list of names", read_parameters, NULL};
const struct conf_type conf_type_ids = {"list of ids", read_ids, NULL};
const struct conf_type conf_type_scopes = {"list of scopes", read_scopes, NULL};
const struct conf_type conf_type_keys = {"list of keys", read_keys, NULL};
const struct conf_type conf_type_tokens = {"list of tokens", read_tokens, NULL};
