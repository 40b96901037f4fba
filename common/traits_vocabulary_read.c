/* Reading a vocabulary of traits from YAML, with every mistake in one run. One thread, at start-up. */
#include <stdlib.h>

#include "common/conf_inside.h"
#include "common/traits_vocabulary_inside.h"

extern const char traits_yaml[]; /* config/traits.yaml, made at build */
extern const size_t traits_yaml_size;

#define SLOTS 2048 /* to begin with */

static const char *const rule_names[TRAIT_RULES] = {"last", "once", "sum"};
static const char *const mask_names[TRAIT_MASKS] = {"hide", "none",    "phone", "email",
                                                    "name", "address", "last4", "year"};

struct reading {
    struct conf_state *s;
    struct vocabulary *v;
    struct trait_kind *k; /* being read */
    size_t number;        /* of it */
};

struct str vocabulary_builtin_text(void)
{
    return (struct str){traits_yaml, traits_yaml_size};
}

/* The place of the word in the list; false when it is none of them. */
static bool read_word(struct reading *r, const struct conf_node *n, const char *what, const char *const *words,
                      size_t count, size_t *out)
{
    struct buf all;

    for (size_t i = 0; n->kind == CONF_SCALAR && i < count; i++) {
        if (str_is(n->text, words[i])) {
            *out = i;
            return true;
        }
    }
    buf_init(&all, 1024);
    for (size_t i = 0; i < count; i++)
        buf_addf(&all, "%s%s", i ? ", " : "", words[i]);
    conf_error(r->s, n, "%s: is one of %.*s", what, STR_ARG(buf_str(&all)));
    buf_deinit(&all);
    return false;
}

static bool read_boolean(struct reading *r, const struct conf_node *n, const char *what, bool *out)
{
    static const char *const words[] = {"false", "true"};
    size_t i = 0;

    if (!read_word(r, n, what, words, 2, &i))
        return false;
    *out = i == 1;
    return true;
}

static void add_name(struct reading *r, const struct conf_node *n)
{
    size_t other = 0;

    if (n->kind != CONF_SCALAR) {
        conf_error(r->s, n, "a name must stand here");
        return;
    }
    switch (vocabulary_add_name(r->v, n->text, r->number, &other)) {
    case VOCABULARY_ADDED:
        break;
    case VOCABULARY_NO_NAME:
        conf_error(r->s, n, "%s is no name: it needs 1 to %d bytes beside dashes, lines, dots and spaces",
                   conf_shown(r->s, n->text), VOCABULARY_NAME);
        break;
    case VOCABULARY_TWICE:
        conf_error(r->s, n, "%s stands for %.*s already", conf_shown(r->s, n->text), STR_ARG(r->v->kinds[other].name));
        break;
    case VOCABULARY_FULL:
        conf_error(r->s, n, "there are more than %d names", VOCABULARY_NAMES);
        break;
    }
}

static void read_aliases(struct reading *r, const struct conf_node *n)
{
    if (n->kind != CONF_LIST_NODE) {
        conf_error(r->s, n, "aliases: needs a list of names");
        return;
    }
    for (size_t i = 0; i < n->n; i++)
        add_name(r, n->items[i]);
}

static void read_member(struct reading *r, const struct conf_node *key, const struct conf_node *n)
{
    struct trait_kind *k = r->k;
    size_t i = 0;

    if (str_is(key->text, "aliases"))
        read_aliases(r, n);
    else if (str_is(key->text, "type") && read_word(r, n, "type", trait_type_names, TRAIT_TYPES, &i))
        k->type = (enum trait_type)i;
    else if (str_is(key->text, "rule") && read_word(r, n, "rule", rule_names, TRAIT_RULES, &i))
        k->rule = (enum trait_rule)i;
    else if (str_is(key->text, "mask") && read_word(r, n, "mask", mask_names, TRAIT_MASKS, &i))
        k->mask = (enum trait_mask)i;
    else if (str_is(key->text, "personal"))
        read_boolean(r, n, "personal", &k->personal);
    else if (str_is(key->text, "in_properties"))
        read_boolean(r, n, "in_properties", &k->in_properties);
    else if (!str_is(key->text, "type") && !str_is(key->text, "rule") && !str_is(key->text, "mask"))
        conf_error(r->s, key, "unknown member %s; a trait has aliases, type, personal, rule, mask, in_properties",
                   conf_shown(r->s, key->text));
}

static void check_trait(struct reading *r, const struct conf_node *at)
{
    const struct trait_kind *k = r->k;

    if (k->rule == TRAIT_SUM && k->type != TRAIT_NUMBER)
        conf_error(r->s, at, "rule: sum needs type: number");
    if (k->rule == TRAIT_SUM && k->personal)
        conf_error(r->s, at, "rule: sum is not for personal traits, whose values are sealed");
}

static void read_trait(struct reading *r, enum trait_group group, const struct conf_node *key,
                       const struct conf_node *n)
{
    bool sealed = group >= TRAITS_CONTACT && group <= TRAITS_CERTIFICATION;

    if (r->v->count == VOCABULARY_KINDS) {
        conf_error(r->s, key, "there are more than %d traits", VOCABULARY_KINDS);
        return;
    }
    r->number = r->v->count++;
    r->k = &r->v->kinds[r->number];
    *r->k = (struct trait_kind){.name = arena_dup(&r->v->arena, key->text),
                                .group = group,
                                .type = TRAIT_STRING,
                                .personal = sealed,
                                .in_properties = true,
                                .rule = TRAIT_LAST,
                                .mask = MASK_HIDE};
    if (!str_has(r->k->name)) {
        conf_error(r->s, NULL, "out of memory");
        return;
    }
    add_name(r, key);
    if (conf_null(n))
        return;
    if (n->kind != CONF_MAP_NODE) {
        conf_error(r->s, n, "%s: needs a map such as {type: string}", conf_shown(r->s, key->text));
        return;
    }
    for (size_t i = 0; i < n->n; i++)
        read_member(r, n->keys[i], n->items[i]);
    check_trait(r, key);
}

static void read_group(struct reading *r, const struct conf_node *key, const struct conf_node *n)
{
    enum trait_group group = trait_group_of(key->text);

    if (group == TRAIT_GROUPS) {
        conf_error(r->s, key,
                   "unknown group %s; the groups are demographic, platform, contact, shipping, payment, "
                   "certification and other",
                   conf_shown(r->s, key->text));
        return;
    }
    if (conf_null(n))
        return;
    if (n->kind != CONF_MAP_NODE) {
        conf_error(r->s, n, "%s: needs a map of traits", trait_group_names[group]);
        return;
    }
    for (size_t i = 0; i < n->n; i++)
        read_trait(r, group, n->keys[i], n->items[i]);
}

/* Names and aliases that the tree can hold at most: every scalar may be one. */
static size_t names_of(const struct conf_node *n)
{
    size_t sum = n->kind == CONF_SCALAR;

    for (size_t i = 0; i < n->n; i++)
        sum += names_of(n->items[i]) + (n->kind == CONF_MAP_NODE);
    return sum;
}

static bool make_tables(struct reading *r, const struct conf_node *root)
{
    struct vocabulary *v = r->v;
    size_t names = names_of(root);

    v->slot_count = SLOTS;
    while (v->slot_count < 2 * VOCABULARY_NAMES && v->slot_count < 2 * names + 2)
        v->slot_count *= 2;
    v->slots = arena_zalloc(&v->arena, v->slot_count * sizeof *v->slots);
    v->kinds = arena_zalloc(&v->arena, (names < VOCABULARY_KINDS ? names + 1 : VOCABULARY_KINDS) * sizeof *v->kinds);
    if (!v->slots || !v->kinds)
        conf_error(r->s, NULL, "out of memory");
    return v->slots && v->kinds;
}

static void read_all(struct reading *r, struct str text)
{
    const struct conf_node *root;

    if (text.n > CONF_FILE_BYTES) {
        conf_error(r->s, NULL, "larger than %zu bytes", CONF_FILE_BYTES);
        return;
    }
    root = conf_yaml(r->s, text);
    if (!root || !make_tables(r, root))
        return;
    if (root->kind != CONF_MAP_NODE && !conf_null(root)) {
        conf_error(r->s, root, "a map of groups must stand here");
        return;
    }
    for (size_t i = 0; i < root->n; i++)
        read_group(r, root->keys[i], root->items[i]);
}

struct vocabulary *vocabulary_parse(const char *file, struct str text, struct buf *errors)
{
    struct vocabulary *v = calloc(1, sizeof *v);
    struct conf_state *s = calloc(1, sizeof *s);
    struct arena scratch;

    arena_init(&scratch, CONF_MEMORY);
    if (v)
        arena_init(&v->arena, CONF_MEMORY);
    if (v && s) {
        *s = (struct conf_state){.file = file, .arena = &scratch};
        read_all(&(struct reading){.s = s, .v = v}, text);
        conf_write_errors(s, errors);
    } else {
        buf_addf(errors, "%s: out of memory\n", file);
    }
    if (!v || !s || s->error_count > 0) {
        vocabulary_free(v);
        v = NULL;
    }
    free(s);
    arena_deinit(&scratch);
    return v;
}

struct vocabulary *vocabulary_load(const char *file, struct buf *errors)
{
    size_t n;

    if (!file)
        return vocabulary_parse("the built-in traits", vocabulary_builtin_text(), errors);
    char *text = conf_read_file(file, &n, errors);
    struct vocabulary *v = text ? vocabulary_parse(file, (struct str){text, n}, errors) : NULL;
    free(text);
    return v;
}
