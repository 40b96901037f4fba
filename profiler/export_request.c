/* Reading what an export is to be. A member that nobody knows is a mistake, not a wish that goes unheard. Pure. */
#include "profiler/export_request.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/num.h"
#include "profiler/export_hash.h"

#define REQUEST_ARENA (32 * MIB)
#define NAME_BYTES 64
#define MOST_SUPPRESS 100

const char *const export_kind_names[EXPORT_KINDS] = {"csv", "ndjson", "google", "meta"};
const char *const export_channel_names[EXPORT_CHANNELS] = {"", "email", "sms", "call", "ads"};

struct reading {
    struct export_request *r;
    const struct rule_names *names;
    const char *country;
    const char **code;
    struct err *e;
};

#define refuse(g, ...) (err_set((g)->e, __VA_ARGS__), *(g)->code = "parameter_invalid", -EINVAL)

bool export_name_valid(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
              c == '-'))
            return false;
    }
    return s.n > 0 && s.n <= NAME_BYTES;
}

/* --- members --------------------------------------------------------------------------------------------------- */

static int read_choice(struct reading *g, const struct json *v, const char *const *names, size_t n, unsigned *out)
{
    for (size_t i = 0; i < n; i++)
        if (v->type == JSON_STRING && names[i][0] && str_is(v->text, names[i])) {
            *out = (unsigned)i;
            return 0;
        }
    return refuse(g, "%.*s: there is no %.60s here", STR_ARG(v->key),
                  v->type == JSON_STRING ? v->text.p : "such value");
}

static int read_name(struct reading *g, const struct json *v, struct str *out)
{
    if (v->type != JSON_STRING || !export_name_valid(v->text))
        return refuse(g, "%.*s: needs a name of letters, digits, dot, dash and line, up to %d", STR_ARG(v->key),
                      NAME_BYTES);
    *out = arena_dup(&g->r->arena, v->text);
    return out->p ? 0 : -ENOMEM;
}

static int read_purpose(struct reading *g, const struct json *v)
{
    if (v->type != JSON_STRING || v->text.n == 0 || v->text.n > LIMIT_PURPOSE_BYTES)
        return refuse(g, "purpose: needs the name of a purpose to which people consented");
    g->r->purpose = arena_dup(&g->r->arena, v->text);
    return g->r->purpose.p ? 0 : -ENOMEM;
}

static int read_truth(struct reading *g, const struct json *v, bool *out)
{
    if (v->type != JSON_TRUE && v->type != JSON_FALSE)
        return refuse(g, "%.*s: needs true or false", STR_ARG(v->key));
    *out = v->type == JSON_TRUE;
    return 0;
}

static int read_hold_out(struct reading *g, const struct json *v)
{
    int64_t micros;

    if (v->type != JSON_NUMBER || num_micros(v->text, false, &micros) != NUM_OK || micros < 0 || micros >= MICROS)
        return refuse(g, "hold_out: needs a share from 0 to below 1, such as 0.1");
    g->r->hold_out = (uint32_t)micros;
    return 0;
}

static int read_number(struct reading *g, const struct json *v, const char *name, int64_t max, unsigned *out)
{
    int64_t n;

    if (!v || v->type != JSON_NUMBER || num_integer(v->text, max, &n) != NUM_OK || n < 1)
        return refuse(g, "cap: needs %s, a whole number from 1 to %lld", name, (long long)max);
    *out = (unsigned)n;
    return 0;
}

static int read_cap(struct reading *g, const struct json *v)
{
    int rc = read_number(g, json_get(v, "times"), "times", MOST_SUPPRESS, &g->r->cap_times);

    return rc ? rc : read_number(g, json_get(v, "per_days"), "per_days", LIMIT_CAMPAIGN_DAYS, &g->r->cap_days);
}

static int read_suppress(struct reading *g, const struct json *v)
{
    struct export_request *r = g->r;
    int rc = 0;

    if (v->type != JSON_ARRAY || v->count > MOST_SUPPRESS)
        return refuse(g, "suppress: needs a list of up to %d names of audiences", MOST_SUPPRESS);
    r->suppress = arena_alloc(&r->arena, (v->count + 1) * sizeof *r->suppress);
    if (!r->suppress)
        return -ENOMEM;
    for (const struct json *c = v->child; c && rc == 0; c = c->next) {
        if (c->type != JSON_STRING || !export_name_valid(c->text))
            return refuse(g, "suppress: needs names of audiences");
        if (g->names->audience && !g->names->audience(g->names->arg, c->text))
            return refuse(g, "suppress: there is no audience %.*s", STR_ARG(c->text));
        r->suppress[r->suppress_count] = arena_dup(&r->arena, c->text);
        rc = r->suppress[r->suppress_count++].p ? 0 : -ENOMEM;
    }
    return rc;
}

static int compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* What people write is brought into the form that is looked for. */
static int read_listed(struct reading *g, const struct json *v)
{
    struct export_request *r = g->r;

    if (v->type != JSON_ARRAY || v->count > LIMIT_EXPORT_SUPPRESS)
        return refuse(g, "suppress_list: needs a list of up to %d ids, addresses or numbers", LIMIT_EXPORT_SUPPRESS);
    r->listed = arena_alloc(&r->arena, (v->count + 1) * sizeof *r->listed);
    for (const struct json *c = v->child; c && r->listed; c = c->next) {
        struct str text = c->text;
        char hex[EXPORT_HEX + 1];

        if (c->type != JSON_STRING || text.n == 0 || text.n > 512)
            return refuse(g, "suppress_list: needs ids (user:42), addresses, numbers, or SHA-256 of the latter");
        if (!export_hashed(text) && !str_starts(text, STR_LIT("user:")) && !str_starts(text, STR_LIT("anon:"))) {
            text = normal_email(c->text, &r->arena);
            if (!str_has(text))
                text = normal_phone(c->text, g->country, &r->arena);
            if (!str_has(text))
                return refuse(g, "suppress_list: %.*s is no id, address or number",
                              (int)(c->text.n < 60 ? c->text.n : 60), c->text.p);
        }
        export_sha256(text, hex);
        r->listed[r->listed_count] = arena_dup(&r->arena, (struct str){hex, EXPORT_HEX});
        if (!r->listed[r->listed_count++].p)
            return -ENOMEM;
    }
    if (!r->listed)
        return -ENOMEM;
    qsort(r->listed, r->listed_count, sizeof *r->listed, compare);
    return 0;
}

bool export_request_lists(const struct export_request *r, struct str text)
{
    char hex[EXPORT_HEX + 1];
    struct str key = {hex, EXPORT_HEX};

    return r->listed_count > 0 && export_sha256(text, hex) &&
           bsearch(&key, r->listed, r->listed_count, sizeof key, compare);
}

/* --- columns --------------------------------------------------------------------------------------------------- */

static bool plain_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr(".[]()\"' +-*/<>=!&|?:,", s.p[i]))
            return false;
    return s.n > 0;
}

/* The expression as whatever type it is of. */
static int compile(struct reading *g, struct str text, struct rule **out)
{
    static const enum rule_type types[] = {RULE_ANY, RULE_TIME, RULE_DURATION, RULE_LIST, RULE_MAP};
    struct rule_error first, other;
    int rc = rule_compile(text, RULE_ANY, g->names, out, &first);

    for (size_t i = 1; rc == -EINVAL && i < sizeof types / sizeof *types; i++)
        rc = rule_compile(text, types[i], g->names, out, &other);
    if (rc == -EINVAL)
        return refuse(g, "columns: %.*s: %.150s", (int)(text.n < 60 ? text.n : 60), text.p, first.message);
    return rc;
}

static int read_rule(struct reading *g, struct export_column *c, struct str text)
{
    int rc = compile(g, text, &c->rule);

    if (rc < 0)
        return rc;
    c->kind = COLUMN_RULE;
    unsigned needs = rule_needs(c->rule);
    if (needs & (RULE_NEEDS_PATH | RULE_NEEDS_ORDERS))
        return refuse(g, "columns: %.*s needs a person's events: make it a tag, and export the tag",
                      (int)(text.n < 60 ? text.n : 60), text.p);
    g->r->needs |= needs;
    g->r->personal |= rule_personal(c->rule);
    return 0;
}

static int read_column(struct reading *g, struct export_column *c, struct str text)
{
    struct str rest = text;

    c->head = text;
    if (str_is(text, "id")) {
        c->kind = COLUMN_ID;
        return 0;
    }
    if (str_is(text, "email") || str_is(text, "phone")) {
        c->kind = str_is(text, "email") ? COLUMN_EMAIL : COLUMN_PHONE;
        g->r->personal = true;
        return 0;
    }
    if (str_starts(text, STR_LIT("facts.")))
        return read_rule(g, c, (struct str){text.p + 6, text.n - 6});
    for (size_t i = 0; i < 3; i++) {
        static const char *const prefixes[] = {"traits.", "tags.", "consent."};
        static const enum export_column_kind kinds[] = {COLUMN_TRAIT, COLUMN_TAG, COLUMN_CONSENT};
        size_t n = strlen(prefixes[i]);

        rest = (struct str){text.p + n, text.n - n};
        if (!str_starts(text, str_of(prefixes[i])) || !plain_name(rest))
            continue;
        c->kind = kinds[i];
        c->name = rest;
        g->r->personal |= c->kind == COLUMN_TRAIT && traits_personal(g->names->traits, rest);
        return 0;
    }
    return read_rule(g, c, text);
}

static int read_columns(struct reading *g, const struct json *v)
{
    struct export_request *r = g->r;
    int rc = 0;

    if (v->type != JSON_ARRAY || v->count == 0 || v->count > LIMIT_EXPORT_COLUMNS)
        return refuse(g, "columns: needs a list of 1 to %d columns", LIMIT_EXPORT_COLUMNS);
    r->columns = arena_zalloc(&r->arena, v->count * sizeof *r->columns);
    if (!r->columns)
        return -ENOMEM;
    for (const struct json *c = v->child; c && rc == 0; c = c->next) {
        if (c->type != JSON_STRING || c->text.n == 0)
            return refuse(g,
                          "columns: needs texts such as \"id\", \"traits.email\", \"facts.spent\", \"tags.lifecycle\"");
        struct str text = arena_dup(&r->arena, c->text);
        if (!text.p)
            return -ENOMEM;
        rc = read_column(g, &r->columns[r->column_count++], text);
    }
    return rc;
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

static int read_member(struct reading *g, const struct json *v)
{
    struct export_request *r = g->r;
    unsigned choice = 0;
    int rc;

    if (str_is(v->key, "format")) {
        rc = read_choice(g, v, export_kind_names, EXPORT_KINDS, &choice);
        r->kind = rc == 0 ? (enum export_kind)choice : EXPORT_CSV;
        return rc;
    }
    if (str_is(v->key, "channel")) {
        rc = read_choice(g, v, export_channel_names, EXPORT_CHANNELS, &choice);
        r->channel = (enum export_channel)choice;
        return rc;
    }
    if (str_is(v->key, "gmail_mode")) {
        rc = read_choice(g, v, gmail_mode_names, 3, &choice);
        r->gmail = (enum gmail_mode)choice;
        return rc;
    }
    if (str_is(v->key, "columns"))
        return read_columns(g, v);
    if (str_is(v->key, "purpose"))
        return read_purpose(g, v);
    if (str_is(v->key, "campaign"))
        return read_name(g, v, &r->campaign);
    if (str_is(v->key, "destination"))
        return read_name(g, v, &r->destination);
    if (str_is(v->key, "hold_out"))
        return read_hold_out(g, v);
    if (str_is(v->key, "suppress"))
        return read_suppress(g, v);
    if (str_is(v->key, "suppress_list"))
        return read_listed(g, v);
    if (str_is(v->key, "cap"))
        return read_cap(g, v);
    if (str_is(v->key, "delta"))
        return read_truth(g, v, &r->delta);
    if (str_is(v->key, "anew"))
        return read_truth(g, v, &r->anew);
    if (str_is(v->key, "value"))
        return read_truth(g, v, &r->value);
    return refuse(g, "there is no %.*s in an export", (int)(v->key.n < 60 ? v->key.n : 60), v->key.p);
}

static int check_agreement(struct reading *g, bool gmail_given)
{
    struct export_request *r = g->r;
    bool network = r->kind == EXPORT_GOOGLE || r->kind == EXPORT_META;

    if (network && r->column_count > 0)
        return refuse(g, "columns: the format %s has columns of its own", export_kind_names[r->kind]);
    if (r->hold_out > 0 && !str_has(r->campaign))
        return refuse(g, "hold_out: needs a campaign, which decides who is held out");
    if (r->anew && !r->delta)
        return refuse(g, "anew: only a delta begins anew");
    if (r->value && r->kind != EXPORT_META)
        return refuse(g, "value: only the format meta has it");
    if (network && r->channel == CHANNEL_NONE)
        r->channel = CHANNEL_ADS;
    if (r->cap_times > 0 && r->channel == CHANNEL_NONE)
        return refuse(g, "cap: needs a channel, by which campaigns are counted");
    if (!gmail_given && r->kind == EXPORT_GOOGLE)
        r->gmail = GMAIL_DOTS_TAG;
    if (!network && r->column_count == 0) {
        r->columns = arena_zalloc(&r->arena, sizeof *r->columns);
        if (!r->columns)
            return -ENOMEM;
        r->columns[0] = (struct export_column){.kind = COLUMN_ID, .head = STR_LIT("id")};
        r->column_count = 1;
    }
    return 0;
}

static int read_all(struct reading *g, char *body, size_t n)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root;
    struct err why = {0};
    bool has_format;
    int rc = parser ? json_parse(parser, body, n, &root, &why) : -ENOMEM;

    if (rc > 0)
        rc = refuse(g, "the body is not JSON: %.150s", why.text);
    if (rc == 0 && root->type != JSON_OBJECT)
        rc = refuse(g, "needs an object such as {\"format\":\"csv\"}");
    has_format = rc == 0 && json_get(root, "format");
    if (rc == 0 && !has_format)
        rc = refuse(g, "format: needs one of csv, ndjson, google and meta");
    for (const struct json *v = rc == 0 ? root->child : NULL; v && rc == 0; v = v->next)
        rc = read_member(g, v);
    if (rc == 0)
        rc = check_agreement(g, json_get(root, "gmail_mode") != NULL);
    json_parser_free(parser);
    return rc;
}

int export_request_read(char *body, size_t n, const struct rule_names *names, const char *country,
                        struct export_request **out, const char **code, struct err *e)
{
    struct export_request *r = calloc(1, sizeof *r);
    struct reading g = {r, names, country, code, e};
    int rc;

    if (!r)
        return -ENOMEM;
    arena_init(&r->arena, REQUEST_ARENA);
    r->purpose = STR_LIT("marketing");
    r->campaign = r->destination = STR_NONE;
    rc = read_all(&g, body, n);
    if (rc == 0)
        *out = r;
    else
        export_request_free(r);
    return rc;
}

void export_request_free(struct export_request *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->column_count; i++)
        rule_free(r->columns[i].rule);
    arena_deinit(&r->arena);
    free(r);
}
