/* The vocabulary of traits: which names a shop uses for what it states about a person, to which group each belongs, its
 * type, whether it is personal, how statements of it come together and how it is masked. Read from a YAML file
 * (config/traits.yaml is the one built in) once, then constant; any thread.
 *
 * A name is found whatever its case and without its dashes, lines, dots, spaces and a leading $: first_name, firstName
 * and "First Name" are one. */
#ifndef WAYMARK_TRAITS_VOCABULARY_H
#define WAYMARK_TRAITS_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/str.h"

enum trait_group {
    TRAITS_DEMOGRAPHIC,
    TRAITS_PLATFORM,
    TRAITS_CONTACT,
    TRAITS_SHIPPING,
    TRAITS_PAYMENT,
    TRAITS_CERTIFICATION,
    TRAITS_OTHER, /* also of names that are not in the vocabulary */
    TRAIT_GROUPS
};
extern const char *const trait_group_names[TRAIT_GROUPS];

enum trait_type {
    TRAIT_ANY, /* of names that are not in the vocabulary */
    TRAIT_STRING,
    TRAIT_NUMBER,
    TRAIT_BOOLEAN,
    TRAIT_DATE, /* a day or a time */
    TRAIT_LIST,
    TRAIT_OBJECT,
    TRAIT_ADDRESS, /* an object of street, city, …, or its text */
    TRAIT_TYPES
};
extern const char *const trait_type_names[TRAIT_TYPES];

/* How statements of a trait come together where they do not say so themselves. */
enum trait_rule {
    TRAIT_LAST, /* the last one stands */
    TRAIT_ONCE, /* the first one stands */
    TRAIT_SUM,  /* numbers add up */
    TRAIT_RULES
};

/* What is shown of a personal value to who may not see it. */
enum trait_mask {
    MASK_HIDE,    /* *** */
    MASK_NONE,    /* all of it */
    MASK_PHONE,   /* 138****5678 */
    MASK_EMAIL,   /* z***@x.com */
    MASK_NAME,    /* Z*** */
    MASK_ADDRESS, /* the city and what is larger */
    MASK_LAST4,   /* ****1111 */
    MASK_YEAR,    /* 1990 */
    TRAIT_MASKS
};

struct trait_kind {
    struct str name; /* the one that answers and rules use */
    enum trait_group group;
    enum trait_type type;
    bool personal;
    bool in_properties; /* a personal one is so among the properties of a track, too: the name of a product is not */
    enum trait_rule rule;
    enum trait_mask mask;
};

struct vocabulary;

/* What the vocabulary says of a name or an alias; NULL: nothing. `v` NULL knows no name. Quick. */
const struct trait_kind *traits_find(const struct vocabulary *v, struct str name);
/* Whether values of that name are personal data. */
static inline bool traits_personal(const struct vocabulary *v, struct str name)
{
    const struct trait_kind *k = traits_find(v, name);

    return k && k->personal;
}
/* The same of a property, whose name may mean another thing than a trait's. */
static inline bool traits_personal_property(const struct vocabulary *v, struct str name)
{
    const struct trait_kind *k = traits_find(v, name);

    return k && k->personal && k->in_properties;
}
/* The group of that name; TRAIT_GROUPS when there is none. */
enum trait_group trait_group_of(struct str name);
/* The traits in the order of the file. */
size_t vocabulary_count(const struct vocabulary *v);
const struct trait_kind *vocabulary_at(const struct vocabulary *v, size_t i);
/* A number of what the fold goes by: names, aliases, types, rules and what is personal. Equal numbers: equal folds. */
uint64_t vocabulary_print(const struct vocabulary *v);

/* Reads a vocabulary; NULL: the built-in one. NULL after mistakes, of which `errors` has a line "file:line:column:
 * text" each. Free with vocabulary_free. */
struct vocabulary *vocabulary_load(const char *file, struct buf *errors);
/* The same from memory; `file` is for messages. */
struct vocabulary *vocabulary_parse(const char *file, struct str text, struct buf *errors);
/* NULL is allowed. */
void vocabulary_free(struct vocabulary *v);

/* config/traits.yaml as it was built in. */
struct str vocabulary_builtin_text(void);

#endif
