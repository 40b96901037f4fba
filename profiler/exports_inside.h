/* What the files of the exports share: one export as it is kept, and the whole. Private to exports*.c. */
#ifndef WAYMARK_EXPORTS_INSIDE_H
#define WAYMARK_EXPORTS_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/limits.h"
#include "profiler/copy_files.h"
#include "profiler/export_make.h"
#include "profiler/exports.h"

enum entry_state {
    ENTRY_WAITING, /* or being made: made anew after a restart */
    ENTRY_DONE,
    ENTRY_FAILED,
    ENTRY_EXPIRED, /* kept long enough: the file is gone, what it told is remembered for the next delta */
    ENTRY_ERASED,  /* somebody was erased who may have been in it: the file is gone */
    ENTRY_STATES
};

/* One export. Kept as ID.json beside its file. */
struct export_entry {
    struct export_entry *next; /* older */
    char id[EXPORT_ID_BYTES];
    char audience[65];
    char who[LIMIT_TOKEN_NAME + 1];
    enum entry_state state;
    enum export_kind kind;
    int64_t asked_at, ended_at;
    /* Of several profilers: who makes the parts, as JSON, and whose people are in this one. NULL: it is the whole, of
     * whoever is here. */
    char *makers;
    uint32_t *partitions;
    size_t partition_count;
    bool anew;                  /* the delta begins from nothing */
    char base[EXPORT_ID_BYTES]; /* of a delta made in parts: what it begins from; "": nothing */
    /* For each partition how far it was folded before its people were looked at; -1: they are not in it. NULL: that is
     * not known, of one that waits, or of an older program. */
    int64_t *places;
    uint32_t place_count;
    int64_t held_until; /* monotonic: it fails unless exports_go comes; 0: it is not held */
    char *request;      /* JSON, while it waits; NULL afterwards: it may list people */
    char *manifest;     /* JSON, when it is done */
    char error[256];
    char delta[EXPORT_HEX + 1]; /* deltas of one name follow each other; "" no delta */
    bool fetched;               /* somebody has taken the file */
    bool has_sent;              /* ID.sent is there */
    uint64_t bytes;
    uint64_t head, removals; /* of it: the head of the columns, and then the removals of a delta */
};

/* --- kept (exports_keep.c) --------------------------------------------------------------------------------------- */

/* FOLDER/ID.EXTENSION; false when it does not fit. */
bool entry_path(const char *folder, const struct export_entry *e, const char *extension, char out[COPY_PATH_BYTES]);
/* Writes it down, durably. 0 or a negative errno with words. */
int entry_save(const char *folder, const struct export_entry *n, struct err *e);
/* NULL for a file that is none, or when memory is out. */
struct export_entry *entry_load(const char *folder, const char *file_name);
/* NULL is allowed. */
void entry_free(struct export_entry *e);
/* Reads all of a folder, newest first, and removes what was left half made. 0 or a negative errno. */
int entries_load(const char *folder, struct export_entry **out, struct err *e);

/* --- manifest (export_manifest.c) -------------------------------------------------------------------------------- */

struct export_facts {
    const struct export_entry *entry;
    const struct export_request *request;
    const struct export_counts *counts;
    struct str rule;
    int64_t rule_version;
    unsigned control_percent;
    uint32_t partitions_here, partitions;
    const char *based_on; /* id of the export whose delta it is; NULL: none */
    bool from_nothing;    /* of a delta: nothing is known here that was told before */
    int64_t began, ended;
};
void export_manifest_write(const struct export_facts *f, struct buf *b);
/* What was asked for, so that it can be read again: with hashes in place of the people that it lists. */
void export_request_write(const struct export_request *r, struct buf *b);

/* --- the whole (exports.c) --------------------------------------------------------------------------------------- */

struct exports {
    struct exports_options o;
    char folder[COPY_PATH_BYTES];
    unsigned char key[EXPORT_KEY_BYTES];
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t asked, rested;
    bool stopping;                /* [lock] */
    struct export_entry *entries; /* [lock] newest first */
    struct export_entry *running; /* [lock] one of them */
    bool again;                   /* [lock] what is being made holds somebody who was erased */
    _Atomic bool halt;            /* ends what is being made */
    _Atomic uint64_t looked_at, expected;
    int64_t *lost;             /* [lock] for each partition: who was erased before that place is to go; 0: nobody */
    bool lost_more;            /* [lock] one of them has risen */
    int64_t deaf_since;        /* monotonic: since when others have all people; 0: they do not */
    char url[LIMIT_URL_BYTES]; /* [lock] "" at first */
    _Atomic bool ending;       /* ends reports */
    unsigned reports;          /* [lock] under way */
    struct stats_counter *made, *failures, *rows, *file_bytes;
};

/* Whether the people of each partition are known here (`known` has room for all), and how many are. *all: none of those
 * that should be is missing. On a log of our own these are all. Quick; any thread. */
uint32_t exports_known(const struct exports *x, bool *known, bool *all);
/* Of that id; NULL: there is none. [lock] */
struct export_entry *exports_find(const struct exports *x, struct str id);
/* It fails before it was made, or goes on being made until that is noticed. [lock] */
void exports_give_up(struct exports *x, struct export_entry *n, const char *why);
/* Writes down what has become of one; a failure is a line in the log. [lock] */
void exports_save(struct exports *x, struct export_entry *n);

/* --- deltas (exports_delta.c) [lock] ----------------------------------------------------------------------------- */

/* The name by which deltas follow each other; "" of none. */
void delta_name(char out[EXPORT_DELTA_BYTES], const char *audience, const struct export_request *r);
/* Whether whoever reads the files knows what this one told. */
bool delta_is_told(const struct export_entry *n);
/* What one begins from; NULL: from nothing. */
struct export_entry *delta_base(const struct exports *x, const struct export_entry *n);
void delta_drop(struct exports *x, struct export_entry *n);
/* Somebody has taken that one: what it stands on is of no use any more. */
void delta_tidy(struct exports *x, const struct export_entry *taken);

/* --- making (exports_run.c) -------------------------------------------------------------------------------------- */

struct export_made {
    struct buf manifest;
    uint64_t bytes, head, removals;
    int64_t *places; /* for each partition, as in the entry; to be freed */
};
/* Makes one, without the lock; the entry is not touched. 0, or a negative errno with words. */
int exports_run(struct exports *x, const struct export_entry *n, const char *sent, const char *based_on,
                struct export_made *out, struct err *e);

#endif
