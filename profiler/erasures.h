/* The erasures that the audit log knows, without whom they were of: what erases these people again where an older state
 * was brought back onto a log that lacks the commands. Commands; one thread. */
#ifndef WAYMARK_ERASURES_H
#define WAYMARK_ERASURES_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "proto/codec_audit.h"

struct erasure_noted {
    int64_t time; /* when it was ordered */
    struct audit_erasure erasure;
};

/* Zeroed at first. */
struct erasures {
    struct erasure_noted *v; /* after erasures_sort in the order of their times, each once */
    size_t n, room;
};

/* Adds those of the log's audit topic; waits up to `ms` for each answer of the log. 0 or a negative errno with words.
 */
int erasures_of_log(struct event_log *log, int64_t ms, struct erasures *out, struct err *e);
/* Adds those of the files of the audit log in a data folder: of this instance, and as far back as files are kept. */
int erasures_of_files(const char *folder, struct erasures *out, struct err *e);
void erasures_sort(struct erasures *v);
void erasures_free(struct erasures *v);

/* Puts each of them on the log, as a command without the person's id, and waits until it is durable. *appended is how
 * many; those of partitions that the log has not are left out and counted in *beyond. 0 or a negative errno with words.
 */
int erasures_append(const struct erasures *v, struct event_log *log, size_t *appended, size_t *beyond, struct err *e);

#endif
