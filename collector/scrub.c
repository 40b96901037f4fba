/* Two walks over the tree of a part: the first, over every event, only looks; the second writes and is for the few that
 * need it. Called on the pool threads. */
#include "collector/scrub.h"

#include <errno.h>

#include "common/limits.h"

/* What a look finds. */
enum { LOOK_CHANGE = 1, LOOK_PERSONAL = 2 };

/* How a value is looked at. */
struct view {
    enum scrub_part part;
    unsigned personal; /* the NAME_ bits that make a member personal; 0: none do */
    bool card;         /* it stands under a card's name */
};

static const char *const part_names[SCRUB_PARTS] = {
    [SCRUB_TRAITS] = "traits", [SCRUB_CONTEXT] = "context", [SCRUB_PROPERTIES] = "properties", [SCRUB_EXTRA] = "extra"};

void scrub_begin(struct scrub *s, const struct privacy *rules, struct name_memo *memo, struct arena *a)
{
    s->rules = rules;
    s->memo = memo;
    s->arena = a;
    s->cards = 0;
    s->failed = false;
    for (int i = 0; i < SCRUB_PARTS; i++)
        buf_init(&s->taken[i], 2 * LIMIT_EVENT_BYTES);
}

int scrub_end(struct scrub *s, struct str *personal)
{
    struct buf all;

    *personal = STR_NONE;
    buf_init(&all, 4 * LIMIT_EVENT_BYTES);
    for (int i = 0; i < SCRUB_PARTS; i++) {
        struct buf *b = &s->taken[i];
        s->failed |= b->failed;
        if (b->n > 0) {
            buf_addf(&all, "%c\"%s\":{", all.n ? ',' : '{', part_names[i]);
            buf_add_str(&all, buf_str(b));
            buf_add_char(&all, '}');
        }
        buf_deinit(b);
    }
    if (all.n > 0) {
        buf_add_char(&all, '}');
        *personal = all.failed ? STR_NONE : arena_dup(s->arena, buf_str(&all));
        s->failed |= !str_has(*personal);
    }
    buf_deinit(&all);
    return s->failed ? -ENOMEM : 0;
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

static struct view view_of(enum scrub_part part)
{
    return (struct view){.part = part,
                         .personal = part == SCRUB_TRAITS  ? NAME_PERSONAL
                                     : part == SCRUB_GROUP ? 0
                                                           : NAME_PERSONAL_HERE};
}

/* Objects among the traits that hold traits. */
static bool holds_more_traits(struct str name)
{
    return str_is(name, "$set") || str_is(name, "$set_once") || str_is(name, "$add");
}

/* Objects that hold a person's traits wherever they stand. */
static bool holds_traits(struct str name)
{
    return str_is(name, "traits") || str_is(name, "traitsOnce") || str_is(name, "traitsAdd");
}

static struct view view_under(const struct view *v, const struct json *m, unsigned name)
{
    struct view under = *v;

    under.card |= (name & NAME_CARD) != 0;
    if (v->part == SCRUB_TRAITS)
        under.personal = holds_more_traits(m->key) ? NAME_PERSONAL : NAME_PERSONAL_HERE;
    if ((v->part == SCRUB_CONTEXT || v->part == SCRUB_EXTRA) && holds_traits(m->key))
        under.personal = NAME_PERSONAL;
    return under;
}

static bool is_card(const struct view *v, const struct json *j)
{
    if (j->type != JSON_STRING && j->type != JSON_NUMBER)
        return false;
    return v->card ? privacy_card(j->text) : v->part == SCRUB_TRAITS && privacy_card_alone(j->text);
}

/* Whether a text that goes by an address's name is one, or near enough. */
static bool looks_like_address(struct str s)
{
    bool digit = false, mark = false;

    for (size_t i = 0; i < s.n; i++) {
        digit |= s.p[i] >= '0' && s.p[i] <= '9';
        mark |= s.p[i] == '.' || s.p[i] == ':';
    }
    return digit && mark;
}

static bool changes_url(struct scrub *s, struct str text, unsigned name)
{
    if (text.n < 2 || (!memchr(text.p, '=', text.n) && !memchr(text.p, '@', text.n)))
        return false;
    struct str cut = privacy_url(s->rules, text, name & NAME_QUERY, s->arena);
    return cut.p != text.p;
}

static bool changes_address(struct scrub *s, struct str text, unsigned name)
{
    if (!(name & NAME_ADDRESS) || s->rules->ip == CONF_IP_FULL || !looks_like_address(text))
        return false;
    return !str_eq(privacy_address(s->rules->ip, text, s->arena), text);
}

static unsigned look_text(struct scrub *s, const struct json *j, unsigned name)
{
    if (changes_address(s, j->text, name))
        return LOOK_CHANGE;
    return changes_url(s, j->text, name) ? LOOK_CHANGE : 0;
}

static unsigned look(struct scrub *s, const struct view *v, const struct json *j, unsigned name);

static unsigned look_inside(struct scrub *s, const struct view *v, const struct json *j, unsigned array_name)
{
    unsigned found = 0;

    for (const struct json *m = j->child; m; m = m->next) {
        if (j->type == JSON_ARRAY) {
            found |= look(s, v, m, array_name);
            continue;
        }
        unsigned name = privacy_name(s->rules, s->memo, m->key);
        struct view under = view_under(v, m, name);
        found |= name & v->personal ? LOOK_PERSONAL : 0;
        found |= name & NAME_HASH ? LOOK_CHANGE : 0;
        found |= look(s, &under, m, name);
    }
    return found;
}

/* `name`: of the member that the value is, or stands in by way of arrays. */
static unsigned look(struct scrub *s, const struct view *v, const struct json *j, unsigned name)
{
    if (is_card(v, j))
        return LOOK_CHANGE;
    if (j->type == JSON_STRING)
        return look_text(s, j, name);
    return j->child ? look_inside(s, v, j, name) : 0;
}

/* --- sources ------------------------------------------------------------------------------------------------------ */

static bool has_member(const struct json *o, struct str key)
{
    for (const struct json *m = o ? o->child : NULL; m; m = m->next)
        if (str_eq(m->key, key))
            return true;
    return false;
}

/* Members one after the other: those of `own`, then those of `under` that it does not have. */
struct members_of {
    const struct scrub_source *from;
    const struct json *next;
    bool own;
};

static struct members_of members_begin(const struct scrub_source *from)
{
    return (struct members_of){from, from->own ? from->own->child : NULL, true};
}

static bool is_member(const struct members_of *i, const struct json *m)
{
    const struct scrub_source *f = i->from;

    if (f->without && str_is(m->key, f->without))
        return false;
    return i->own ? !f->belongs || f->belongs(m, f->arg) : !has_member(f->own, m->key);
}

static const struct json *members_next(struct members_of *i)
{
    for (;;) {
        if (!i->next && i->own) {
            i->own = false;
            i->next = i->from->under ? i->from->under->child : NULL;
        }
        const struct json *m = i->next;
        if (!m)
            return NULL;
        i->next = m->next;
        if (is_member(i, m))
            return m;
    }
}

static unsigned look_member(struct scrub *s, const struct view *v, const struct json *m)
{
    unsigned name = privacy_name(s->rules, s->memo, m->key);
    struct view under = view_under(v, m, name);
    unsigned found = look(s, &under, m, name);

    if (name & v->personal)
        found |= LOOK_PERSONAL;
    if (name & NAME_HASH)
        found |= LOOK_CHANGE;
    return found;
}

bool scrub_wanted(struct scrub *s, enum scrub_part part, const struct scrub_source *from)
{
    struct view v = view_of(part);
    struct members_of i = members_begin(from);
    const struct json *m;

    if (from->without &&
        (has_member(from->own, str_of(from->without)) || has_member(from->under, str_of(from->without))))
        return true;
    while ((m = members_next(&i)))
        if (look_member(s, &v, m))
            return true;
    return false;
}

/* --- writing -------------------------------------------------------------------------------------------------------
 */

/* Writes a value as it may be kept; false, and nothing written, when it is to go. */
static bool write_value(struct scrub *s, const struct view *v, const struct json *j, unsigned name, struct buf *b);

static bool write_text(struct scrub *s, const struct json *j, unsigned name, struct buf *b)
{
    if (changes_address(s, j->text, name)) {
        struct str kept = privacy_address(s->rules->ip, j->text, s->arena);
        if (str_has(kept))
            json_write_str(b, kept);
        return str_has(kept);
    }
    if (!changes_url(s, j->text, name)) {
        buf_add_str(b, j->raw);
        return true;
    }
    struct str cut = privacy_url(s->rules, j->text, name & NAME_QUERY, s->arena);
    s->failed |= !str_has(cut);
    json_write_str(b, cut);
    return true;
}

static void write_key(struct buf *b, const char *prefix, struct str key)
{
    struct buf whole;

    if (!prefix) {
        json_write_str(b, key);
    } else {
        buf_init(&whole, LIMIT_EVENT_BYTES);
        buf_add_text(&whole, prefix);
        buf_add_str(&whole, key);
        json_write_str(b, buf_str(&whole));
        b->failed |= whole.failed;
        buf_deinit(&whole);
    }
    buf_add_char(b, ':');
}

/* A member with what goes before it; `start` is where its object's members begin. Nothing when the value is to go. */
static void write_member(struct scrub *s, const struct view *v, const struct json *m, const char *prefix, struct buf *b,
                         size_t start)
{
    unsigned name = privacy_name(s->rules, s->memo, m->key);
    struct view under = view_under(v, m, name);
    size_t before = b->n;

    if (name & NAME_HASH)
        return;
    if (b->n > start)
        buf_add_char(b, ',');
    write_key(b, prefix, m->key);
    if (!write_value(s, &under, m, name, b) && !b->failed)
        b->n = before;
}

static void write_object(struct scrub *s, const struct view *v, const struct json *j, struct buf *b)
{
    buf_add_char(b, '{');
    size_t start = b->n;
    for (const struct json *m = j->child; m; m = m->next)
        write_member(s, v, m, NULL, b, start);
    buf_add_char(b, '}');
}

static void write_array(struct scrub *s, const struct view *v, const struct json *j, unsigned name, struct buf *b)
{
    buf_add_char(b, '[');
    size_t start = b->n;
    for (const struct json *m = j->child; m; m = m->next) {
        size_t before = b->n;
        if (b->n > start)
            buf_add_char(b, ',');
        if (!write_value(s, v, m, name, b) && !b->failed)
            b->n = before;
    }
    buf_add_char(b, ']');
}

static bool write_value(struct scrub *s, const struct view *v, const struct json *j, unsigned name, struct buf *b)
{
    if (is_card(v, j)) {
        s->cards++;
        return false;
    }
    switch (j->type) {
    case JSON_STRING:
        return write_text(s, j, name, b);
    case JSON_OBJECT:
        write_object(s, v, j, b);
        return true;
    case JSON_ARRAY:
        write_array(s, v, j, name, b);
        return true;
    default:
        buf_add_str(b, j->raw);
        return true;
    }
}

int scrub_object(struct scrub *s, enum scrub_part part, const struct scrub_source *from, struct str *kept)
{
    struct view v = view_of(part);
    struct members_of i = members_begin(from);
    const struct json *m;
    struct buf b;

    buf_init(&b, 2 * LIMIT_EVENT_BYTES);
    buf_add_char(&b, '{');
    while ((m = members_next(&i))) {
        bool personal = look_member(s, &v, m) & LOOK_PERSONAL;
        write_member(s, &v, m, personal ? from->prefix : NULL, personal ? &s->taken[part] : &b, personal ? 0 : 1);
    }
    buf_add_char(&b, '}');
    *kept = b.n <= 2 ? STR_NONE : arena_dup(s->arena, buf_str(&b));
    s->failed |= b.failed || s->taken[part].failed || (b.n > 2 && !str_has(*kept));
    buf_deinit(&b);
    return s->failed ? -ENOMEM : 0;
}

void scrub_url(struct scrub *s, struct str *url)
{
    if (!url->n || (!memchr(url->p, '=', url->n) && !memchr(url->p, '@', url->n)))
        return;
    *url = privacy_url(s->rules, *url, false, s->arena);
    s->failed |= !str_has(*url);
}
