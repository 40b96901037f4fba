/* What a shop states about a person (traits) and what the person agreed to (consent), folded from their events. Field
 * by field the last writer wins in the order of events; null removes; a set-once keeps the earliest; increments add to
 * the latest set. A function of the set of events, like the facts; changed step by step where that gives what folding
 * everything anew would give, else the step says so (TRAITS_REFOLD). Pure but for the keys; one thread at a time.
 *
 * What each name becomes:
 *   base   the latest set if it is no null; else the earliest set-once after it
 *   value  the base, or where there are increments after the latest set and the base is no other than a number, base
 *          (else 0) + their sum
 * An event states traits by `traits` (null removes), `traitsOnce` and `traitsAdd` (an object of numbers each); the
 * latter two beside `traits` (in the event's `extra`) or inside it as $set_once and $add. Names have the rule of the
 * vocabulary where they stand in `traits`. A value that does not fit the type of its name is as if it had not been
 * stated.
 *
 * Beside traits and consent stand the marks of a person, which only an EVENT_MARK says (marks.h).
 *
 * Values of personal traits are sealed with a key of the person, which stands wrapped in the bytes, in memory too. */
#ifndef WAYMARK_TRAITS_H
#define WAYMARK_TRAITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/seal.h"
#include "common/traits_vocabulary.h"
#include "profiler/facts.h"
#include "proto/event.h"

/* Canonical bytes in one allocation; most people have none. */
struct traits {
    unsigned char *bytes;
    uint32_t n;
};

/* What was skipped. Raised by whoever folds, read by the metrics. */
struct traits_counters {
    atomic_ullong unopened; /* events whose personal part no key opens */
    atomic_ullong unfit;    /* values that do not fit the type of their name, or a bound */
};

struct traits_rules {
    const struct vocabulary *vocabulary; /* NULL: no names are known */
    struct seal_keys *keys;              /* NULL: what is sealed stays so, and no personal value is kept */
    struct traits_counters *counters;    /* NULL: nobody counts */
};

enum { TRAITS_OK = 0, TRAITS_REFOLD = 1 };

void traits_init(struct traits *t);
void traits_deinit(struct traits *t);
static inline bool traits_empty(const struct traits *t)
{
    return t->n == 0;
}
/* Bytes of memory behind it, for the cache's budget. */
size_t traits_bytes(const struct traits *t);
/* Whether an event says anything to the traits: quick, for the way of every event. */
bool traits_in_event(const struct event *e);

/* Adds one event that was not added before, in any order. TRAITS_REFOLD: `t` is as before, and only traits_fold over
 * the whole path gives what it must be (also when the person's key cannot be unwrapped). -ENOMEM. */
int traits_add_event(struct traits *t, const struct event *e, const struct traits_rules *r);
/* The oracle: folds a whole path; of `in` path, path_count, decode and arg are used. It shares the reading of an event
 * and the writing of the result with the steps, and nothing between. `was`: whose person key is kept, NULL for a fresh
 * one. Fills `out` (inited by the callee). 0 or negative errno, and then nothing is to be freed. */
int traits_fold(const struct fold_input *in, const struct traits_rules *r, const struct traits *was,
                struct traits *out);

/* Bytes for the disk: they hold no personal value in the clear. Nothing is appended for nobody's traits. */
bool traits_pack(const struct traits *t, struct buf *b);
/* A copy. 0, or -ENOMEM and an empty one. */
int traits_copy(const struct traits *from, struct traits *out);
/* 0, 1 for bytes that are no traits, -ENOMEM. Inits `out`. */
int traits_unpack(struct str bytes, struct traits *out);
/* Whether both say the same, whatever keys their values are sealed with. What no key opens equals what was stated by
 * the same event. 0 equal, 1 different, -ENOMEM. */
int traits_differ(const struct traits *a, const struct traits *b, const struct traits_rules *r);
static inline bool traits_equal(const struct traits *a, const struct traits *b, const struct traits_rules *r)
{
    return traits_differ(a, b, r) == 0;
}

/* Joins what the collector sealed with the fields that it was taken from, in the arena. 0, 1 when no key opens it (the
 * event is as it was), -ENOMEM. */
int traits_unseal(struct event *e, const struct traits_rules *r, struct arena *a);

/* What an answer shows. */
struct traits_show {
    unsigned groups; /* bit per enum trait_group: personal traits of these are shown */
    bool clear;      /* unmasked */
    bool verbose;    /* each as {"value","time","source"} */
};
#define TRAITS_SHOW_PUBLIC ((struct traits_show){0})
/* Whether an answer made so may hold a personal value, masked or not: such never goes into the cache. */
static inline bool traits_show_personal(const struct traits_show *s)
{
    return s->groups != 0;
}
/* The JSON object of the traits, by name; those that are null are left out. */
void traits_write_json(const struct traits *t, const struct traits_rules *r, const struct traits_show *show,
                       struct buf *b);
/* {"marketing":{"granted":true,"time":"…","source":"web"},…} */
void traits_write_consent(const struct traits *t, struct buf *b);
/* Whether consent for a purpose was stated, and which. */
enum traits_consent { CONSENT_UNSTATED, CONSENT_REFUSED, CONSENT_GRANTED };
enum traits_consent traits_consent_of(const struct traits *t, struct str purpose);

/* The value of one trait as JSON in the arena, personal ones opened; absent when there is none. For rules and exports.
 */
struct str traits_value(const struct traits *t, const struct traits_rules *r, struct str name, struct arena *a);
/* The values of several, opened at once; out[i] is as traits_value(names[i]) would have it. 0 or -ENOMEM. */
int traits_values(const struct traits *t, const struct traits_rules *r, const struct str *names, size_t n,
                  struct arena *a, struct str *out);

#endif
