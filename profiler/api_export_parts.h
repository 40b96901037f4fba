/* What the files of exports over several profilers share. Private to api_export*.c.
 *
 * A profiler tells others of an export, or a part of one, as (EXPORT_INSIDE):
 *
 *   {"id","audience","state",…,"manifest":{…},
 *    "instance":"p1","url":"http://…",      who says so
 *    "makers":[{"instance":"p1","url":"…","partitions":[0,2]},…],   null: it is a whole
 *    "delta":"…","fetched":true,"told":true,"bytes":812,"head":31,"removals":120,…}
 *
 * The whole file is the head of the first part, the removals of all parts in the order of the makers, then what follows
 * them in all parts: what one profiler removes another may add. */
#ifndef WAYMARK_API_EXPORT_PARTS_H
#define WAYMARK_API_EXPORT_PARTS_H

#include "profiler/api_audience.h"
#include "profiler/api_circle.h"
#include "profiler/exports.h"

#define EXPORT_ASK_MS 5000 /* for a profiler to say what it has */
#define EXPORT_PARTS (LIMIT_FORWARDS_OF_ONE + 1)

struct export_part {
    const struct json *root;  /* NULL: it is not there */
    const char *base;         /* of who has it; "": this profiler. NULL: nobody does */
    const struct json *maker; /* NULL: it is a whole */
};

/* --- finding (api_export_find.c) -------------------------------------------------------------------------------- */

/* An export with all its parts, in the order of the makers. */
struct whole {
    struct ask *ask;
    struct str id; /* as long as the request */
    void (*found)(struct whole *w);
    char more[32];
    struct buf own;
    struct json_parser *parser;
    const struct json *root; /* the own part; NULL: none */
    struct circle *circles[4];
    size_t rounds;
    struct export_part parts[EXPORT_PARTS];
    size_t count;
};
/* Asks whoever may have a part, who waits up to `hold_ms` for it to be finished. Then `found` is called, on a look-up
 * thread or here, and frees it; or it has answered, when there is no such export, or not all of it can be had. */
void whole_find(struct ask *ask, struct str id, int64_t hold_ms, void (*found)(struct whole *w));
void whole_free(struct whole *w);
/* Whether it may be an export's: files of no other name are found again at a start. */
bool export_id_good(struct str id);

/* --- joining (api_export_join.c): pure -------------------------------------------------------------------------- */

/* The export as it is told outside. */
void export_join(const struct export_part *parts, size_t n, struct buf *b);
enum export_whole { WHOLE_RUNNING, WHOLE_DONE, WHOLE_FAILED, WHOLE_EXPIRED, WHOLE_ERASED, WHOLE_AWAY };
enum export_whole export_whole_state(const struct export_part *parts, size_t n);
/* A list of parts of any exports, newest first, grouped: [{…},…]. */
void export_join_list(const struct json **parts, size_t n, struct buf *b);
/* Members of a part. */
struct str part_text(const struct json *o, const char *key);
uint64_t part_number(const struct json *o, const char *key);
bool part_truth(const struct json *o, const char *key);
/* The part of that maker among `n`; NULL: it is not there. */
const struct json *part_of_maker(const struct json *maker, const struct json *const *parts, size_t n);

/* --- beginning (api_export_begin.c) ----------------------------------------------------------------------------- */

/* Answers a begun one with 201, soon. */
void export_begun(struct ask *ask, const char *id);
void export_not_begun(struct ask *ask, int r, const char *code, const struct err *e);
/* Begins one with all who have people. */
void export_begin_all(struct ask *ask, const struct export_asked *asked);
/* The base of a delta, out of what everybody has told ({"exports":[…]}); see api_export_base.c. */
enum base_found { BASE_FOUND, BASE_NONE, BASE_ASK, BASE_ANSWERED };
struct base {
    struct str id;             /* of BASE_FOUND */
    const struct json *makers; /* likewise */
    const struct json *ask;    /* of BASE_ASK: the maker who is to be asked */
};
enum base_found base_find(struct ask *ask, const struct json *const *answers, size_t n, struct base *out);

/* --- routes between profilers ------------------------------------------------------------------------------------ */

bool prepare_inside(struct ask *ask);
void run_inside_exports(struct ask *ask);
void run_inside_begin(struct ask *ask);
void run_inside_export(struct ask *ask);
void run_inside_part(struct ask *ask);
/* {"partitions":[…],"instance":…,"url":…,"exports":[…]}; `delta` NULL: all, "": none. */
bool write_inside(struct ask *ask, const bool *here, const char *delta, struct buf *b);

#endif
