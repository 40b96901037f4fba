/* Marks: made as events, read out of them, and found among the traits that they are folded with. Pure; any thread. */
#include "profiler/marks.h"

#include <errno.h>
#include <sodium.h>

#include "common/clock.h"
#include "profiler/traits_inside.h"
#include "proto/codec.h"

_Static_assert(MARK_NAME_BYTES + MARK_NAME_PREFIX <= LIMIT_NAME_BYTES, "a mark is kept as a trait is");

#define ID_KIND_BYTES 5 /* "user:" */
#define HASH_BYTES 16

static const char *const list_names[] = {[MARK_TAG] = "tags", [MARK_CAMPAIGN] = "campaigns"};

/* --- an event -------------------------------------------------------------------------------------------------- */

/* {"value":…,"until":…}: as an event says it and as it is kept. */
static void write_value(const struct mark *m, struct buf *b)
{
    buf_add_text(b, "{\"value\":");
    buf_add_str(b, m->value);
    if (m->until != TIME_NONE) {
        buf_add_text(b, ",\"until\":");
        num_write_int(b, m->until);
    }
    buf_add_char(b, '}');
}

static void write_properties(const struct mark *m, struct buf *b)
{
    buf_add_char(b, '{');
    json_write_str(b, str_of(list_names[m->kind]));
    buf_add_text(b, ":{");
    json_write_str(b, m->name);
    buf_add_char(b, ':');
    if (str_has(m->value))
        write_value(m, b);
    else
        buf_add_text(b, "null");
    buf_add_text(b, "}}");
}

/* Another one for another mark, time or value: the same said twice is said once. */
static struct str message_id(struct str properties, int64_t time, struct arena *a)
{
    unsigned char hash[HASH_BYTES];
    char hex[2 * HASH_BYTES + 1];
    crypto_generichash_state s;

    crypto_generichash_init(&s, NULL, 0, sizeof hash);
    crypto_generichash_update(&s, (const unsigned char *)&time, sizeof time);
    crypto_generichash_update(&s, (const unsigned char *)properties.p, properties.n);
    crypto_generichash_final(&s, hash, sizeof hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    return arena_dup(a, str_of(hex));
}

static bool is_mark(const struct mark *m, struct str id)
{
    return (str_starts(id, STR_LIT("user:")) || str_starts(id, STR_LIT("anon:"))) && id.n > ID_KIND_BYTES &&
           id.n <= ID_KIND_BYTES + LIMIT_ID_BYTES && m->name.n > 0 && m->name.n <= MARK_NAME_BYTES;
}

int mark_event(const struct mark *m, struct str id, int64_t received, struct arena *a, struct event *out)
{
    struct str text, message, who;
    struct buf b;

    if (!is_mark(m, id))
        return -EINVAL;
    buf_init(&b, LIMIT_EVENT_BYTES);
    write_properties(m, &b);
    text = b.failed ? STR_NONE : arena_dup(a, buf_str(&b));
    buf_deinit(&b);
    if (!str_has(text))
        return -ENOMEM;
    message = message_id(text, m->time, a);
    who = arena_dup(a, (struct str){id.p + ID_KIND_BYTES, id.n - ID_KIND_BYTES});
    if (!str_has(message) || !str_has(who))
        return -ENOMEM;
    bool user = id.p[0] == 'u';
    *out = (struct event){.type = EVENT_MARK,
                          .trust = TRUST_SERVER,
                          .source = m->source,
                          .message_id = message,
                          .user_id = user ? who : STR_NONE,
                          .anonymous_id = user ? STR_NONE : who,
                          .time = m->time,
                          .received = received,
                          .original_time = TIME_NONE,
                          .sent = TIME_NONE,
                          .properties = text};
    out->uid = event_uid(out->source, out->anonymous_id, out->user_id, out->message_id);
    return 0;
}

/* --- what an event says ---------------------------------------------------------------------------------------- */

/* TIME_NONE: it says no end. False: it says one that is none. */
static bool read_until(const struct json *v, int64_t *out)
{
    *out = TIME_NONE;
    if (!v || v->type == JSON_NULL)
        return true;
    return v->type == JSON_NUMBER && num_integer(v->text, LIMIT_TIME_LAST, out) == NUM_OK && *out >= LIMIT_TIME_FIRST;
}

static bool fit(struct marks_said *to, const struct json *v, struct str *out)
{
    struct mark m = {.until = TIME_NONE};
    struct buf b;

    *out = STR_NONE;
    if (v->type == JSON_NULL)
        return true;
    if (v->type != JSON_OBJECT || !read_until(json_get(v, "until"), &m.until))
        return false;
    const struct json *value = json_get(v, "value");
    if (!value || value->type == JSON_NULL || !trait_fit(TRAIT_ANY, value, to->arena, &m.value))
        return false;
    to->no_memory = to->no_memory || !str_has(m.value);
    if (to->no_memory)
        return true;
    buf_init(&b, LIMIT_TRAIT_BYTES);
    write_value(&m, &b);
    bool fits = !b.failed;
    *out = fits ? arena_dup(to->arena, buf_str(&b)) : STR_NONE;
    to->no_memory = fits && !str_has(*out);
    buf_deinit(&b);
    return fits;
}

static bool read_one(struct marks_said *to, enum mark_kind kind, const struct json *m)
{
    struct str value;
    char *name;

    if (m->key.n == 0 || m->key.n > MARK_NAME_BYTES || !fit(to, m, &value)) {
        to->unfit++;
        return true;
    }
    name = arena_alloc(to->arena, MARK_NAME_PREFIX + m->key.n);
    to->no_memory = to->no_memory || !name;
    if (to->no_memory)
        return false;
    name[0] = mark_letter(kind);
    memcpy(name + MARK_NAME_PREFIX, m->key.p, m->key.n);
    return to->say(to->arg, (struct str){name, MARK_NAME_PREFIX + m->key.n}, value);
}

void marks_read(struct marks_said *to, const struct json *root)
{
    for (enum mark_kind kind = MARK_TAG; kind <= MARK_CAMPAIGN; kind++) {
        const struct json *list = json_get(root, list_names[kind]);

        for (const struct json *m = list && list->type == JSON_OBJECT ? list->child : NULL; m; m = m->next)
            if (!read_one(to, kind, m))
                return;
    }
}

/* --- what is known --------------------------------------------------------------------------------------------- */

/* 0, 1: it was taken away, -ENOMEM. The bytes are canonical: fit() wrote them. */
static int take(const struct open_traits *o, const struct trait *t, struct arena *a, struct mark *out)
{
    const struct stamp *at = t->has_set ? &o->stamps[t->set.stamp] : NULL;
    struct json_parser *parser = NULL;
    const struct json *root;
    int rc = -ENOMEM;

    if (!at || !str_has(t->set.bytes))
        return 1;
    root = trait_parse(t->set.bytes, a, &parser);
    if (!root && parser)
        rc = 1; /* damaged */
    if (root) {
        const struct json *value = json_get(root, "value");
        struct str name = {t->name.p + MARK_NAME_PREFIX, t->name.n - MARK_NAME_PREFIX};

        *out = (struct mark){.kind = t->name.p[0] == 't' ? MARK_TAG : MARK_CAMPAIGN,
                             .name = arena_dup(a, name),
                             .value = value ? arena_dup(a, value->raw) : STR_NONE,
                             .time = at->key.time,
                             .source = arena_dup(a, at->source)};
        rc = !value || !read_until(json_get(root, "until"), &out->until)              ? 1
             : out->name.p && out->value.p && (out->source.p || !str_has(at->source)) ? 0
                                                                                      : -ENOMEM;
    }
    json_parser_free(parser);
    return rc;
}

static int open(const struct traits *t, struct arena *a, struct open_traits *o)
{
    open_traits_init(o, a);
    return open_traits_read(o, (struct str){(const char *)t->bytes, t->n});
}

int marks_find(const struct traits *t, enum mark_kind kind, struct str name, struct arena *a, struct mark *out)
{
    char key[MARK_NAME_PREFIX + MARK_NAME_BYTES];
    const struct trait *found;
    struct open_traits o;
    int rc;

    if (traits_empty(t) || name.n == 0 || name.n > MARK_NAME_BYTES)
        return 1;
    rc = open(t, a, &o);
    if (rc != 0)
        return rc;
    key[0] = mark_letter(kind);
    memcpy(key + MARK_NAME_PREFIX, name.p, name.n);
    found = trait_list_find(&o.marks, (struct str){key, MARK_NAME_PREFIX + name.n});
    return found ? take(&o, found, a, out) : 1;
}

bool marks_all(const struct traits *t, enum mark_kind kind, struct arena *a, struct mark **out, size_t *n)
{
    struct open_traits o;

    *n = 0;
    *out = NULL;
    if (traits_empty(t))
        return true;
    if (open(t, a, &o) < 0)
        return false;
    if (o.marks.n == 0)
        return true;
    *out = arena_alloc(a, o.marks.n * sizeof **out);
    if (!*out)
        return false;
    for (size_t i = 0; i < o.marks.n; i++) {
        int rc = o.marks.v[i].name.p[0] == mark_letter(kind) ? take(&o, &o.marks.v[i], a, &(*out)[*n]) : 1;

        if (rc < 0)
            return false;
        *n += rc == 0;
    }
    return true;
}
