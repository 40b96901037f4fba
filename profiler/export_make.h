/* One export being made: everybody of an audience is looked at, written or counted by the reason why not; then what
 * campaigns note is put on the log, and the file stands in its folder. Blocking; the thread of the caller. */
#ifndef WAYMARK_EXPORT_MAKE_H
#define WAYMARK_EXPORT_MAKE_H

#include <stdatomic.h>

#include "profiler/audiences.h"
#include "profiler/export_file.h"
#include "profiler/export_format.h"
#include "profiler/export_sent.h"

/* Why somebody in the audience is not in the file. The control group and those held out would have been in it
 * otherwise, so that who is exported can be compared with them. */
enum export_reason {
    EXPORT_NO_CONSENT,
    EXPORT_SUPPRESSED,
    EXPORT_NO_IDENTIFIER,
    EXPORT_CAPPED,
    EXPORT_CONTROL_GROUP,
    EXPORT_HELD_OUT,
    EXPORT_REASONS
};
extern const char *const export_reason_names[EXPORT_REASONS];

struct export_counts {
    uint64_t people; /* in the audience */
    uint64_t rows, added, removed, unchanged;
    uint64_t excluded[EXPORT_REASONS];
    uint64_t removals[EXPORT_REASONS + 3]; /* by reason; then SENT_GONE, and so on */
    uint64_t by[EXPORT_IDENTIFIERS];
    uint64_t phones_without_country;
    uint64_t marked;                     /* people of whom the campaign is noted */
    uint64_t bytes, head, removal_bytes; /* of the file; of it the first lines, and the removals behind them */
    char sha256[EXPORT_HEX + 1];
};

struct export_order {
    const struct export_request *request;
    const struct fold_rules *rules;
    const char *country;
    const unsigned char *key; /* EXPORT_KEY_BYTES, of what is kept of people */
    unsigned control_percent;
    uint64_t reserve; /* of the disk */
    const char *folder, *id;
    const char *sent; /* path of what was told before; NULL: nothing was */
    const char *who;  /* asked for it */
    int64_t now;
    uint32_t partitions;
    const bool *here;      /* for each partition, whether its people are walked over; NULL: all */
    struct event_log *log; /* of marks */
    /* Shows everybody in the audience. As audiences_count. */
    int (*walk)(void *arg, audience_visitor *each, void *each_arg, const _Atomic bool *stop, struct err *e);
    void *arg;
    const _Atomic bool *stop;    /* ends it, with -ECANCELED */
    _Atomic uint64_t *looked_at; /* people, for progress */
};

/* Leaves FOLDER/ID.EXTENSION and, of a delta, FOLDER/ID.sent; nothing when it fails: a negative errno with words. */
int export_make(const struct export_order *o, struct export_counts *out, struct err *e);
/* What making one leaves behind when the program ends in the middle: to be removed at the start. */
bool export_is_rest(const char *file_name);

#endif
