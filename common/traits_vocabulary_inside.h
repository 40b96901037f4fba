/* What the two files of the vocabulary share: the table that one fills and the other searches. */
#ifndef WAYMARK_TRAITS_VOCABULARY_INSIDE_H
#define WAYMARK_TRAITS_VOCABULARY_INSIDE_H

#include "common/arena.h"
#include "common/traits_vocabulary.h"

#define VOCABULARY_NAME 64    /* bytes of a name without what makes no difference */
#define VOCABULARY_KINDS 2000 /* traits of one vocabulary */
#define VOCABULARY_NAMES 8192 /* names and aliases of all */

struct vocabulary_slot {
    uint8_t n; /* 0: free */
    char folded[VOCABULARY_NAME];
    uint32_t kind;
};

struct vocabulary {
    struct arena arena; /* of all that follows */
    struct trait_kind *kinds;
    size_t count;
    struct vocabulary_slot *slots;
    size_t slot_count, used; /* a power of two, at least twice as many as are used */
};

enum vocabulary_added { VOCABULARY_ADDED, VOCABULARY_NO_NAME, VOCABULARY_TWICE, VOCABULARY_FULL };
/* Makes the name lead to a kind; of VOCABULARY_TWICE *other is the kind to which it leads already. */
enum vocabulary_added vocabulary_add_name(struct vocabulary *v, struct str name, size_t kind, size_t *other);

#endif
