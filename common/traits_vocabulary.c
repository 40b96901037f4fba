/* Names of traits and what is known of them: a table that is built once and then only read. Any thread. */
#include "common/traits_vocabulary.h"

#include <assert.h>
#include <stdlib.h>

#include "common/traits_vocabulary_inside.h"

const char *const trait_group_names[TRAIT_GROUPS] = {"demographic", "platform",      "contact", "shipping",
                                                     "payment",     "certification", "other"};
const char *const trait_type_names[TRAIT_TYPES] = {"any",  "string", "number", "boolean",
                                                   "date", "list",   "object", "address"};

enum trait_group trait_group_of(struct str name)
{
    for (int g = 0; g < TRAIT_GROUPS; g++)
        if (str_is(name, trait_group_names[g]))
            return (enum trait_group)g;
    return TRAIT_GROUPS;
}

/* What two spellings of one name share; 0 when nothing is left or it is longer than any name. */
static size_t fold_name(struct str name, char out[VOCABULARY_NAME])
{
    size_t n = 0, i = 0;

    while (i < name.n && name.p[i] == '$')
        i++;
    for (; i < name.n; i++) {
        char c = name.p[i];
        if (c == '_' || c == '-' || c == '.' || c == ' ')
            continue;
        if (n == VOCABULARY_NAME)
            return 0;
        out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return n;
}

static uint64_t hash_bytes(uint64_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * UINT64_C(0x100000001b3);
    return h;
}

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* The slot of the folded name, or the free one where it would stand. */
static struct vocabulary_slot *find_slot(const struct vocabulary *v, const char *folded, size_t n)
{
    for (uint64_t h = hash_bytes(HASH_START, folded, n);; h++) {
        struct vocabulary_slot *s = &v->slots[h & (v->slot_count - 1)];
        if (s->n == 0 || (s->n == n && memcmp(s->folded, folded, n) == 0))
            return s;
    }
}

const struct trait_kind *traits_find(const struct vocabulary *v, struct str name)
{
    char folded[VOCABULARY_NAME];
    size_t n = v ? fold_name(name, folded) : 0;

    if (n == 0)
        return NULL;
    const struct vocabulary_slot *s = find_slot(v, folded, n);
    return s->n ? &v->kinds[s->kind] : NULL;
}

enum vocabulary_added vocabulary_add_name(struct vocabulary *v, struct str name, size_t kind, size_t *other)
{
    char folded[VOCABULARY_NAME];
    size_t n = fold_name(name, folded);

    if (n == 0)
        return VOCABULARY_NO_NAME;
    if (v->used * 2 >= v->slot_count)
        return VOCABULARY_FULL;
    struct vocabulary_slot *s = find_slot(v, folded, n);
    if (s->n) {
        *other = s->kind;
        return VOCABULARY_TWICE;
    }
    s->n = (uint8_t)n;
    memcpy(s->folded, folded, n);
    s->kind = (uint32_t)kind;
    v->used++;
    return VOCABULARY_ADDED;
}

size_t vocabulary_count(const struct vocabulary *v)
{
    return v ? v->count : 0;
}

const struct trait_kind *vocabulary_at(const struct vocabulary *v, size_t i)
{
    assert(i < v->count);
    return &v->kinds[i];
}

/* A sum, so that the order of the file does not matter. */
uint64_t vocabulary_print(const struct vocabulary *v)
{
    uint64_t sum = vocabulary_count(v);

    for (size_t i = 0; v && i < v->slot_count; i++) {
        const struct vocabulary_slot *s = &v->slots[i];
        if (s->n == 0)
            continue;
        const struct trait_kind *k = &v->kinds[s->kind];
        char tail[3] = {(char)k->type, (char)k->personal, (char)k->rule};
        uint64_t h = hash_bytes(HASH_START, s->folded, s->n);
        h = hash_bytes(hash_bytes(h, "\xff", 1), k->name.p, k->name.n);
        sum += hash_bytes(hash_bytes(h, "\xff", 1), tail, sizeof tail);
    }
    return sum;
}

void vocabulary_free(struct vocabulary *v)
{
    if (!v)
        return;
    arena_deinit(&v->arena);
    free(v);
}
