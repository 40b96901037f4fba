/* The backups of a running profiler: one at a time, on a thread of its own, when asked for or by the clock. They lie in
 * the folder profiler.backups, on Kafka in a folder of the instance within it, since several instances may share one.
 * Of those made by the clock the latest are kept; others are never removed. */
#ifndef WAYMARK_BACKUP_H
#define WAYMARK_BACKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/stats.h"
#include "common/str.h"
#include "profiler/state.h"

struct backups;

struct backups_options {
    const struct conf *conf;
    const char *instance;
    struct state *state;
    const struct state_options *state_options; /* that it was opened with */
    struct stats *stats;                       /* NULL: counts nowhere */
};

/* Everything in the options must outlive it. */
int backups_start(const struct backups_options *o, struct backups **out, struct err *e);
/* Ends a backup that is being made, which leaves nothing behind; who waits for one is told so. NULL is allowed. */
void backups_stop(struct backups *b);
/* Where they lie. */
const char *backups_folder(const struct backups *b);

/* Called once, on the backup's thread, when it is whole (rc 0) or failed (a negative errno and why; -EEXIST when there
 * is one of that name). `summary` is JSON: see manifest.h. */
typedef void backup_done(void *arg, int rc, struct str summary, const struct err *why);

enum backups_answer {
    BACKUPS_BEGUN,    /* done will be called */
    BACKUPS_BUSY,     /* another one is being made; done is not called, nor in what follows */
    BACKUPS_BAD_NAME, /* see backup_name_valid */
    BACKUPS_STOPPED
};
/* `name` absent: the time in UTC. Quick; any thread. */
enum backups_answer backups_begin(struct backups *b, struct str name, backup_done *done, void *arg);

struct backups_progress {
    bool running;
    uint64_t bytes, bytes_to_do; /* 0 while it is not known */
};
void backups_progress(struct backups *b, struct backups_progress *out);

#endif
