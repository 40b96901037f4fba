/* What the files of traits share: what an event states, and the traits of a person spread out while they are changed.
 * Private to traits*.c. */
#ifndef WAYMARK_TRAITS_INSIDE_H
#define WAYMARK_TRAITS_INSIDE_H

#include "common/json.h"
#include "common/limits.h"
#include "common/num.h"
#include "profiler/marks.h"
#include "profiler/traits.h"

/* --- what an event states (traits_read.c) ---------------------------------------------------------------------- */

enum stated { STATED_SET, STATED_ONCE, STATED_ADD };

/* Where a name stands: of consents it is a purpose, and the value true or false; of marks mark_name(). */
enum stated_in { IN_TRAITS, IN_CONSENTS, IN_MARKS };

struct statement {
    enum stated_in in;
    enum stated how;
    struct str name;  /* the vocabulary's */
    struct str value; /* JSON; absent: it is removed */
    int64_t add;      /* of STATED_ADD, micros */
    bool personal;
    uint32_t number; /* in the event: of two that are equal but for the value the later stands */
};

struct statements {
    struct statement *v; /* by list, name and how, no two alike */
    size_t n, cap;
};

/* Everything the event states, in the arena. 0 or -ENOMEM. */
int traits_read(const struct event *e, const struct traits_rules *r, struct arena *a, struct statements *out);

/* Of a mark in the traits: a letter for its kind, and its name. */
#define MARK_NAME_PREFIX 1
static inline char mark_letter(enum mark_kind kind)
{
    return kind == MARK_TAG ? 't' : 'c';
}
/* What an EVENT_MARK says (marks.c): {"tags":{…},"campaigns":{…}}. Each with its value, {"value":…,"until":…} or
 * absent; what is none is passed over. `say` returns false to stop. */
struct marks_said {
    bool (*say)(void *arg, struct str name, struct str value);
    void *arg;
    struct arena *arena;
    bool no_memory;
    unsigned unfit; /* how many were passed over */
};
void marks_read(struct marks_said *to, const struct json *root);

/* --- values (traits_fit.c) -------------------------------------------------------------------------------------- */

/* The value as the type has it, as JSON in the arena; false when it does not fit. Absent `out` with true: out of
 * memory. Pure. */
bool trait_fit(enum trait_type type, const struct json *v, struct arena *a, struct str *out);
/* The masked value, as JSON. `value` is valid JSON. */
void trait_mask_write(enum trait_mask mask, struct str value, struct buf *b);
/* Parses JSON that lies where it must not be written to, in a copy. NULL when it is none or memory is out. Free the
 * parser when done. */
const struct json *trait_parse(struct str json, struct arena *a, struct json_parser **parser);

/* --- the traits spread out (traits_codec.c) ---------------------------------------------------------------------- */

/* The event that said something. */
struct stamp {
    struct event_key key;
    struct str source;
};

enum held_form { HELD_CLEAR, HELD_TO_SEAL, HELD_SEALED };

/* A value that stands. */
struct held {
    uint32_t stamp;
    enum held_form form;
    struct str bytes; /* JSON, or that sealed */
};

struct trait {
    struct str name;
    uint32_t first; /* stamp of its first statement */
    bool has_set, has_once, has_add;
    struct held set;              /* the latest; `bytes` absent: null */
    struct held once;             /* the earliest after `set` */
    uint32_t once_last;           /* stamp of the latest of those */
    uint32_t add_first, add_last; /* of the increments after `set` */
    money sum;
};

struct trait_list {
    struct trait *v; /* by name */
    size_t n, cap;
    size_t limit;
};

struct open_traits {
    struct arena *arena; /* of everything here, but for what spans of the packed bytes point to */
    struct str wrapped;  /* the person's key; absent: none yet */
    struct stamp *stamps;
    size_t stamp_count, stamp_cap;
    struct trait_list traits, consents, marks;
};

void open_traits_init(struct open_traits *o, struct arena *a);
/* Spreads packed bytes, which must outlive `o`. 0, 1 for bytes that are no traits, -ENOMEM. */
int open_traits_read(struct open_traits *o, struct str bytes);
enum { OPEN_LOCKED = 1 };
/* Packs, sealing what is to be sealed. 0, OPEN_LOCKED when the person's key does not open, -ENOMEM. */
int open_traits_write(struct open_traits *o, const struct traits_rules *r, struct traits *out);
/* A stamp more; -ENOMEM or its number. */
int64_t open_traits_stamp(struct open_traits *o, const struct event *e);
struct trait_list *open_traits_list(struct open_traits *o, enum stated_in in);
struct trait *trait_list_find(const struct trait_list *l, struct str name);
/* Puts in a name that is not there, if the list has room; NULL: it has none, or memory is out (*no_memory). */
struct trait *trait_list_add(struct open_traits *o, struct trait_list *l, struct str name, bool *no_memory);
/* Opens a sealed value; absent when no key does. `person` is NULL when the key did not unwrap. */
struct str held_open(const struct held *h, struct str name, const struct seal_person *person, struct arena *a);
/* Unwraps the key of the person. False when there is none, or no key opens it. */
bool open_traits_person(const struct open_traits *o, const struct traits_rules *r, struct seal_person *out);
/* What stands for a name, in the arena: absent when nothing does. `at` and `personal` are optional outputs. */
struct str trait_value_of(const struct open_traits *o, const struct trait *t, const struct seal_person *person,
                          struct arena *a, const struct stamp **at, bool *personal);

static inline const struct event_key *stamp_key(const struct open_traits *o, uint32_t stamp)
{
    return &o->stamps[stamp].key;
}

#endif
