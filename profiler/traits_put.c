/* The body of PUT of traits, checked name by name. */
#include "profiler/traits_put.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "common/clock.h"
#include "profiler/traits_inside.h"
#include "proto/codec.h"

#define FUTURE_MS (10 * TIME_MINUTE)
#define WHY_BYTES 2000 /* further mistakes are not told */

struct putting {
    struct traits_put *put;
    const struct traits_rules *rules;
    struct arena *arena;
    struct buf *why;
    bool bad, no_memory, stated;
    struct buf open, sealed, once_open, once_sealed, adds, consent; /* members, with commas between */
};

static void wrong(struct putting *p, const char *part, struct str name, const char *what)
{
    p->bad = true;
    if (p->why->n > WHY_BYTES)
        return;
    buf_addf(p->why, "%s%s.%.*s: %s", p->why->n ? "; " : "", part, (int)(name.n < 80 ? name.n : 80), name.p, what);
}

/* --- card numbers ---------------------------------------------------------------------------------------------- */

static bool luhn(const char *digits, size_t n)
{
    int sum = 0;

    for (size_t i = 0; i < n; i++) {
        int d = digits[n - 1 - i] - '0';
        d = i % 2 ? 2 * d : d;
        sum += d > 9 ? d - 9 : d;
    }
    return sum % 10 == 0;
}

/* Whether digits in the text, with spaces, dashes or dots between, are the full number of a card. */
static bool is_card(struct str s)
{
    char digits[32];
    size_t n = 0;

    for (size_t i = 0; i <= s.n; i++) {
        char c = i < s.n ? s.p[i] : 'x';
        if (c >= '0' && c <= '9') {
            if (n < sizeof digits)
                digits[n++] = c;
        } else if (c != ' ' && c != '-' && c != '.') {
            if (n >= 13 && n <= 19 && luhn(digits, n))
                return true;
            n = 0;
        }
    }
    return false;
}

static bool has_card(const struct json *v)
{
    if (v->type == JSON_STRING || v->type == JSON_NUMBER)
        return is_card(v->text);
    for (const struct json *c = v->type >= JSON_ARRAY ? v->child : NULL; c; c = c->next)
        if (has_card(c))
            return true;
    return false;
}

/* Phones and identity numbers are as long, and as good. */
static bool may_be_card(const struct trait_kind *kind)
{
    return !kind || (kind->group != TRAITS_CONTACT && kind->group != TRAITS_CERTIFICATION);
}

/* --- names ----------------------------------------------------------------------------------------------------- */

static void add_member(struct buf *b, struct str name, struct str value)
{
    if (b->n)
        buf_add_char(b, ',');
    json_write_str(b, name);
    buf_add_char(b, ':');
    buf_add_str(b, value);
}

static bool name_good(struct putting *p, const char *part, struct str name)
{
    if (name.n == 0 || name.n > LIMIT_NAME_BYTES)
        wrong(p, part, name, "a name has 1 to 256 bytes");
    else if (name.p[0] == '$' || str_is(name, "consent"))
        wrong(p, part, name, "no trait may have this name");
    else
        return true;
    return false;
}

static bool one_default(const struct json *list)
{
    unsigned n = 0;

    for (const struct json *i = list->type == JSON_ARRAY ? list->child : NULL; i; i = i->next) {
        const struct json *d = json_get(i, "default");
        n += d && d->type == JSON_TRUE;
    }
    return n <= 1;
}

/* Checks a value; absent when it is bad, or memory is out. */
static struct str value_of(struct putting *p, const char *part, const struct json *v, const struct trait_kind *kind)
{
    struct str value = STR_NONE;
    char text[80];

    if (v->type == JSON_NULL)
        return STR_LIT("null");
    if (v->height > LIMIT_EVENT_DEPTH) {
        wrong(p, part, v->key, "it is nested too deep");
    } else if (may_be_card(kind) && has_card(v)) {
        wrong(p, part, v->key, "a full card number is not kept; the last four digits may be given");
    } else if (!one_default(v)) {
        wrong(p, part, v->key, "more than one of them is the default");
    } else if (!trait_fit(kind ? kind->type : TRAIT_ANY, v, p->arena, &value)) {
        snprintf(text, sizeof text, "it needs a value of the type %s", trait_type_names[kind->type]);
        wrong(p, part, v->key, text);
    } else if (!str_has(value)) {
        p->no_memory = true;
    } else if (value.n > LIMIT_TRAIT_BYTES) {
        wrong(p, part, v->key, "it is over 8 KiB");
        value = STR_NONE;
    }
    return value;
}

static void read_set(struct putting *p, const char *part, const struct json *m, struct buf *open, struct buf *sealed)
{
    const struct trait_kind *kind = traits_find(p->rules->vocabulary, m->key);

    if (!name_good(p, part, m->key))
        return;
    struct str value = value_of(p, part, m, kind);
    if (str_has(value))
        add_member(kind && kind->personal ? sealed : open, m->key, value);
}

static void read_add(struct putting *p, const struct json *m)
{
    const struct trait_kind *kind = traits_find(p->rules->vocabulary, m->key);
    int64_t micros;

    if (!name_good(p, "traitsAdd", m->key))
        return;
    if (m->type != JSON_NUMBER || num_micros(m->text, false, &micros) != NUM_OK)
        wrong(p, "traitsAdd", m->key, "it needs a number of at most 10^9 in size");
    else if (kind && (kind->personal || (kind->type != TRAIT_NUMBER && kind->type != TRAIT_ANY)))
        wrong(p, "traitsAdd", m->key, "nothing can be added to it");
    else
        add_member(&p->adds, m->key, m->raw);
}

static void read_purpose(struct putting *p, const struct json *m)
{
    if (m->key.n == 0 || m->key.n > LIMIT_PURPOSE_BYTES)
        wrong(p, "consent", m->key, "a purpose has 1 to 64 bytes");
    else if (m->type > JSON_TRUE)
        wrong(p, "consent", m->key, "it is true, false or null");
    else
        add_member(&p->consent, m->key, m->raw);
}

static void read_members(struct putting *p, const struct json *part)
{
    for (const struct json *m = part->child; m && !p->no_memory; m = m->next) {
        p->stated = true;
        if (str_is(part->key, "traits"))
            read_set(p, "traits", m, &p->open, &p->sealed);
        else if (str_is(part->key, "traitsOnce"))
            read_set(p, "traitsOnce", m, &p->once_open, &p->once_sealed);
        else if (str_is(part->key, "traitsAdd"))
            read_add(p, m);
        else
            read_purpose(p, m);
    }
}

static void read_time(struct putting *p, const struct json *v)
{
    int64_t t = p->put->received;

    if (v->type == JSON_STRING ? time_parse(v->text, &t) != 0
                               : v->type != JSON_NUMBER || time_parse_epoch(v->text, &t) != 0)
        wrong(p, "body", STR_LIT("time"), "it looks like 2026-01-31T23:59:59Z");
    else if (t > p->put->received + FUTURE_MS)
        wrong(p, "body", STR_LIT("time"), "it lies in the future");
    p->put->event.time = p->put->event.original_time = t;
}

static bool is_part(struct str key)
{
    return str_is(key, "traits") || str_is(key, "traitsOnce") || str_is(key, "traitsAdd") || str_is(key, "consent");
}

static void read_body(struct putting *p, const struct json *root)
{
    for (const struct json *m = root->child; m && !p->no_memory; m = m->next) {
        if (str_is(m->key, "time"))
            read_time(p, m);
        else if (!is_part(m->key))
            wrong(p, "body", m->key, "it has traits, traitsOnce, traitsAdd, consent and time");
        else if (m->type != JSON_OBJECT || m->count > LIMIT_TRAITS)
            wrong(p, "body", m->key, "it needs an object of at most 500 names");
        else
            read_members(p, m);
    }
    if (!p->bad && !p->stated)
        wrong(p, "body", STR_LIT("traits"), "nothing is stated");
}

/* --- the event ------------------------------------------------------------------------------------------------- */

static struct str kept(struct putting *p, const struct buf *b)
{
    struct str copy = b->failed ? STR_NONE : arena_dup(p->arena, buf_str(b));

    if (!str_has(copy))
        p->no_memory = true;
    return copy;
}

static void add_object(struct buf *b, const char *name, const struct buf *members)
{
    if (members->n == 0)
        return;
    json_write_key(b, name);
    buf_add_char(b, '{');
    buf_add_str(b, buf_str(members));
    buf_add_char(b, '}');
}

static struct str object_of(struct putting *p, struct buf *members)
{
    struct str copy;
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    buf_add_char(&b, '{');
    buf_add_str(&b, buf_str(members));
    buf_add_char(&b, '}');
    b.failed |= members->failed;
    copy = kept(p, &b);
    buf_deinit(&b);
    return copy;
}

static int seal(struct putting *p)
{
    struct buf plain, out;
    int rc = 0;

    add_object(&p->sealed, "$set_once", &p->once_sealed);
    if (p->sealed.n == 0)
        return 0;
    if (!p->rules->keys)
        return TRAITS_PUT_NO_KEYS;
    buf_init(&plain, LIMIT_RECORD_BYTES);
    buf_init(&out, LIMIT_RECORD_BYTES);
    buf_add_char(&plain, '{');
    add_object(&plain, "traits", &p->sealed);
    buf_add_char(&plain, '}');
    if (p->sealed.failed || plain.failed || !seal_for_profilers(p->rules->keys, buf_str(&plain), &out))
        rc = -ENOMEM;
    else
        p->put->event.sealed = kept(p, &out);
    buf_deinit(&plain);
    buf_deinit(&out);
    return rc;
}

/* An id that is like no other. */
static int mint(struct putting *p)
{
    unsigned char random[16];
    char hex[33];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return -EIO;
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(hex + 2 * i, 3, "%02x", random[i]);
    p->put->event.message_id = arena_dup(p->arena, str_of(hex));
    return str_has(p->put->event.message_id) ? 0 : -ENOMEM;
}

static int make_event(struct putting *p)
{
    struct event *e = &p->put->event;
    int rc = 0;

    add_object(&p->open, "$set_once", &p->once_open);
    add_object(&p->open, "$add", &p->adds);
    if (p->open.n)
        e->traits = object_of(p, &p->open);
    if (p->consent.n)
        e->consent = object_of(p, &p->consent);
    rc = seal(p);
    if (rc == 0 && !str_has(e->traits)) /* an identify call says of whom it speaks, if nothing else */
        e->traits = STR_LIT("{}");
    if (rc == 0 && !str_has(e->message_id))
        rc = mint(p);
    e->uid = event_uid(e->source, e->anonymous_id, e->user_id, e->message_id);
    return p->no_memory ? -ENOMEM : rc;
}

static bool ids_good(struct putting *p)
{
    struct traits_put *put = p->put;
    struct str id = {put->id.p + 5, put->id.n - 5};
    bool user = str_starts(put->id, STR_LIT("user:"));

    if ((put->blocked && conf_blocked(put->blocked, id)) || (!user && str_starts(id, STR_LIT("order:")))) {
        put->code = "id_invalid";
        buf_add_text(p->why, "the id stands for nobody");
        return false;
    }
    if (put->message_id.n > LIMIT_ID_BYTES) {
        put->code = "parameter_invalid";
        buf_add_text(p->why, "Idempotency-Key has at most 256 bytes");
        return false;
    }
    put->event = (struct event){.type = EVENT_IDENTIFY,
                                .trust = TRUST_SERVER,
                                .source = STR_LIT("api"),
                                .message_id = put->message_id.n ? put->message_id : STR_NONE,
                                .user_id = user ? id : STR_NONE,
                                .anonymous_id = user ? STR_NONE : id,
                                .time = put->received,
                                .received = put->received,
                                .original_time = TIME_NONE,
                                .sent = TIME_NONE};
    return true;
}

static int read_parsed(struct putting *p, const struct json *root)
{
    if (root->type != JSON_OBJECT) {
        p->put->code = "json_invalid";
        buf_add_text(p->why, "the body is an object");
        return TRAITS_PUT_BAD;
    }
    if (!ids_good(p))
        return TRAITS_PUT_BAD;
    read_body(p, root);
    if (p->no_memory)
        return -ENOMEM;
    if (p->bad) {
        p->put->code = "value_invalid";
        return TRAITS_PUT_BAD;
    }
    return make_event(p);
}

int traits_put_read(struct traits_put *put, char *body, size_t n, const struct traits_rules *r, struct arena *a,
                    struct buf *why)
{
    static const struct traits_rules none = {0};
    struct putting p = {.put = put, .rules = r ? r : &none, .arena = a, .why = why};
    struct buf *const all[] = {&p.open, &p.sealed, &p.once_open, &p.once_sealed, &p.adds, &p.consent};
    struct json_parser *parser = json_parser_new();
    const struct json *root;
    struct err e = {0};
    int rc = parser ? json_parse(parser, body, n, &root, &e) : -ENOMEM;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_init(all[i], LIMIT_RECORD_BYTES);
    if (rc == JSON_OK) {
        rc = read_parsed(&p, root);
    } else if (rc > 0) {
        put->code = "json_invalid";
        buf_add_text(why, e.text);
        rc = TRAITS_PUT_BAD;
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_deinit(all[i]);
    json_parser_free(parser);
    return rc;
}
