/* Reading consent. A refusal must not be lost to a form that somebody spells in another way, so many are taken; what is
 * no yes and no no is ignored, and counted. Called on the pool threads. */
#include "collector/consent.h"

#include <errno.h>
#include <strings.h>

struct purposes {
    struct {
        struct str name;
        bool granted;
    } list[CONSENT_PURPOSES];
    size_t n;
    bool ignored;
};

static bool is_word(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (s.n == strlen(*words) && strncasecmp(s.p, *words, s.n) == 0)
            return true;
    return false;
}

/* 1 yes, 0 no, -1 neither. */
static int answer_of(const struct json *v)
{
    static const char *const yes[] = {"true",      "yes",      "granted", "grant",  "allow",    "allowed",
                                      "accept",    "accepted", "on",      "opt_in", "opted_in", "opt-in",
                                      "confirmed", "active",   "1",       NULL};
    static const char *const no[] = {"false",   "no",        "denied",   "deny",      "disallow", "refused",
                                     "refuse",  "reject",    "rejected", "off",       "opt_out",  "opted_out",
                                     "opt-out", "withdrawn", "inactive", "not_given", "0",        NULL};

    if (v->type == JSON_TRUE || v->type == JSON_FALSE)
        return v->type == JSON_TRUE;
    if (v->type != JSON_STRING && v->type != JSON_NUMBER)
        return -1;
    return is_word(v->text, yes) ? 1 : is_word(v->text, no) ? 0 : -1;
}

/* One spelling for the purpose that has two. */
static struct str name_of(struct str name)
{
    static const char *const other[] = {"personalization", "personalisation", NULL};

    name = str_trim(name);
    return is_word(name, other) ? STR_LIT("personalisation") : name;
}

static void state(struct purposes *p, struct str name, int answer)
{
    size_t i = 0;

    name = name_of(name);
    if (name.n == 0 || name.n > CONSENT_NAME || answer < 0) {
        p->ignored = true;
        return;
    }
    while (i < p->n && str_cmp(p->list[i].name, name) < 0)
        i++;
    if (i == p->n || !str_eq(p->list[i].name, name)) {
        if (p->n == CONSENT_PURPOSES) {
            p->ignored = true;
            return;
        }
        memmove(&p->list[i + 1], &p->list[i], (p->n - i) * sizeof p->list[0]);
        p->list[i].name = name;
        p->n++;
    }
    p->list[i].granted = answer == 1;
}

static const struct json *first_of(const struct json *o, const char *const *names)
{
    for (; *names; names++) {
        const struct json *v = json_get(o, *names);
        if (v && v->type != JSON_NULL)
            return v;
    }
    return NULL;
}

/* A list of purposes: names are agreed to; objects say their name and the answer. */
static void read_list(struct purposes *p, const struct json *list)
{
    static const char *const names[] = {"purpose", "purposeId", "purpose_id", "category", "key",
                                        "id",      "Id",        "name",       "Name",     NULL};
    static const char *const answers[] = {"granted", "consent", "consented",       "value",           "status",
                                          "Status",  "state",   "transactionType", "TransactionType", NULL};

    for (const struct json *v = list->child; v; v = v->next) {
        const struct json *name = v->type == JSON_OBJECT ? first_of(v, names) : v;
        const struct json *answer = v->type == JSON_OBJECT ? first_of(v, answers) : NULL;
        if (!name || name->type != JSON_STRING || (v->type == JSON_OBJECT && !answer))
            p->ignored = true;
        else
            state(p, name->text, answer ? answer_of(answer) : 1);
    }
}

static void read_map(struct purposes *p, const struct json *map)
{
    static const char *const answers[] = {"granted", "consent", "value", "status", NULL};

    for (const struct json *v = map->child; v; v = v->next) {
        const struct json *answer = v->type == JSON_OBJECT ? first_of(v, answers) : v;
        if (v->type != JSON_NULL)
            state(p, v->key, answer ? answer_of(answer) : -1);
    }
}

/* Beside the purposes a client may state where they come from. */
static void read_stated(struct purposes *p, const struct json *v)
{
    static const char *const inside[] = {"categoryPreferences", "category_preferences", "purposes", "Purposes", NULL};

    if (!v || v->type == JSON_NULL)
        return;
    const struct json *purposes = v->type == JSON_OBJECT ? first_of(v, inside) : NULL;
    v = purposes ? purposes : v;
    if (v->type == JSON_OBJECT)
        read_map(p, v);
    else if (v->type == JSON_ARRAY)
        read_list(p, v);
    else
        p->ignored = true;
}

/* In front of all that others state, so that the bound does not cut it off. */
static void refuse_first(struct purposes *p, const struct consent_source *from)
{
    if (from->refuse_analytics)
        state(p, STR_LIT("analytics"), 0);
    if (from->refuse_marketing_and_sale) {
        state(p, STR_LIT("marketing"), 0);
        state(p, STR_LIT("sale"), 0);
    }
}

static int write(const struct purposes *p, struct arena *a, struct str *out)
{
    struct buf b;

    buf_init(&b, CONSENT_PURPOSES * (6 * CONSENT_NAME + 16));
    for (size_t i = 0; i < p->n; i++) {
        buf_add_char(&b, i ? ',' : '{');
        json_write_str(&b, p->list[i].name);
        buf_add_text(&b, p->list[i].granted ? ":true" : ":false");
    }
    buf_add_char(&b, '}');
    *out = b.failed ? STR_NONE : arena_dup(a, buf_str(&b));
    buf_deinit(&b);
    return str_has(*out) ? 0 : -ENOMEM;
}

int consent_read(const struct consent_source *from, struct arena *a, struct str *out, bool *ignored)
{
    struct purposes p;

    p.n = 0;
    p.ignored = false;
    refuse_first(&p, from);
    for (int i = 0; i < 4; i++)
        read_stated(&p, from->stated[i]);
    refuse_first(&p, from);
    *ignored = p.ignored;
    *out = STR_NONE;
    return p.n > 0 ? write(&p, a, out) : 0;
}
