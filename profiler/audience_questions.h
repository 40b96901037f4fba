/* What the files of questions share; private to audience_*.c. */
#ifndef WAYMARK_AUDIENCE_QUESTIONS_H
#define WAYMARK_AUDIENCE_QUESTIONS_H

#include "profiler/audience_inside.h"

/* A reference, or NULL before there is one. */
struct world *world_of(struct audiences *a);
/* Whether people of some partition are not known here; with the lock. */
bool audiences_partial(const struct audiences *a);

struct who {
    uint32_t partition;
    struct str id;
    unsigned needs;
    int64_t as_of;
    struct state_reader *reader; /* as in struct person_of */
    struct key_hash hash;
};

/* A person who is asked about. */
struct asking {
    struct audiences *a;
    struct person_seen p;
    struct key_hash hash;
    bool evaluate; /* audiences are evaluated, not looked up */
    bool *in;      /* then, by the world's index; NULL: not yet */
    enum { ROW_UNREAD, ROW_READ, ROW_NONE } row;
    struct tag_said *said; /* ROW_READ: the tags that have a set, as they were judged; in the arena */
    size_t said_count;
    bool said_all; /* there are no others */
};
/* As person_see; then person_seen_done(&k->p). */
int ask_person(struct audiences *a, struct world *w, const struct who *who, struct arena *arena, struct asking *k,
               struct err *e);

/* --- audience_tags.c: with the lock ---------------------------------------------------------------------------- */

/* The row of somebody, if it is of that version and that world and nothing has become due since: what tags and
 * audiences say of them. 0, 1: it is not, negative errno. */
int row_settled(struct audiences *a, const struct world *w, uint32_t partition, const struct key_hash *hash,
                int64_t version, struct arena *arena, struct row *out);

/* --- audience_solve.c: with the lock -------------------------------------------------------------------------- */

/* Who is meant, of one partition, to be freed; NULL: bitmaps do not tell. */
struct bits *solve_rule(const struct audiences *a, const struct crowd *p, const struct rule *rule);

#endif
