/* The audit log: who read personal values, exported, erased, or changed an identity; from where, when, whose, how many.
 * A record goes into audit.log in the data folder (lines of JSON, synced) and then to the log's topic of its own.
 *
 * Profiles stand in records as keyed hashes only: the key is made once and kept in the data folder, so that nothing has
 * to be erased from what must be kept, and who has the key can still ask for one profile.
 *
 * One thread (audit.c) writes; notes come from any thread and never wait. When more waits than may, a note is refused,
 * and what it is of must not be answered. */
#ifndef WAYMARK_AUDIT_H
#define WAYMARK_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "common/str.h"

struct audit;
struct audit_erasure; /* proto/codec_audit.h */

/* What a route does. */
enum audit_kind {
    AUDIT_BY_TOKEN, /* a personal read when the token sees personal values; else nothing to record */
    AUDIT_NEVER,    /* nothing of a person */
    AUDIT_READ,
    AUDIT_EXPORT,
    AUDIT_ERASURE,
    AUDIT_IDENTITY, /* a link, a trait, a consent or a tag was changed */
    AUDIT_KINDS
};

struct audit_options {
    const char *folder; /* of the data; exists */
    const char *instance;
    uint64_t file_bytes; /* of audit.log, before the next one is begun */
    unsigned files;      /* full ones that are kept */
    struct event_log *log;
    struct stats *stats;
};

#define AUDIT_REQUEST 16 /* hex digits by which the records of a request that was sent on belong together */

struct audit_entry {
    enum audit_kind kind; /* AUDIT_READ or later */
    struct str who;       /* the token's name */
    struct str from;      /* the client's address */
    struct str method, route;
    const struct str *targets; /* profiles ("user:42", "anon:d") and orders ("order:O1") that it names */
    size_t target_count;       /* past LIMIT_AUDIT_TARGETS they are only counted */
    uint64_t count;            /* profiles, or events, in the answer */
    unsigned status;
    struct str request;                  /* AUDIT_REQUEST digits, or absent */
    const struct audit_erasure *erasure; /* of one that erases a person; else NULL */
    bool forwarded;                      /* another instance says that it sent the request on, and has recorded it */
};

enum { AUDIT_NOTED = 0, AUDIT_FULL = 1, AUDIT_STOPPED = 2 };

/* Opens the file, making it and the key when they are missing. 0, or a negative errno with `e` filled. */
int audit_start(const struct audit_options *o, struct audit **out, struct err *e);

/* Called once, on the audit's thread: the record is on disk and on the log; false: not within LIMIT_AUDIT_MS, or the
 * program ends. Then it may still become so. */
typedef void audit_done(void *arg, bool durable);

/* Whether a note would be taken now, and what was noted last is being written: asked before something is changed whose
 * record must follow. Any thread; quick. */
bool audit_takes(struct audit *a);

/* Takes a copy of the entry. `done` may be NULL; it is not called unless AUDIT_NOTED is returned. Any thread; does not
 * wait. */
int audit_note(struct audit *a, const struct audit_entry *entry, audit_done *done, void *arg);

/* Refuses further notes, writes what waits within `ms`, and tells everybody who waits. NULL is allowed. */
void audit_stop(struct audit *a, int64_t ms);
/* After audit_stop. NULL is allowed. */
void audit_free(struct audit *a);

#endif
