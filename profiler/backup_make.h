/* Making one backup. Blocking: the backup's thread. */
#ifndef WAYMARK_BACKUP_MAKE_H
#define WAYMARK_BACKUP_MAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "profiler/copy_files.h"
#include "profiler/manifest.h"
#include "profiler/state.h"

/* In the state's folder while a backup goes to another file system: links to its files, so that they stay. */
#define BACKUP_LINKS ".backup"

struct backup_order {
    struct state *state;
    const struct state_options *options; /* that the state was opened with */
    const char *folder;                  /* of the backup's; made when missing */
    const char *name;
    const char *instance, *event_log, *topic_prefix; /* for the manifest */
    bool scheduled;
    uint64_t reserve_bytes;        /* of free space, to leave */
    struct copy_progress progress; /* told the bytes that are hashed, or copied */
    _Atomic uint64_t *bytes_to_do; /* set when it is known */
};

/* A name that may stand in a folder: letters, digits, - _ and . (not first), up to LIMIT_BACKUP_NAME. */
bool backup_name_valid(struct str name);
/* Makes FOLDER/NAME whole, or leaves nothing behind. `each` is called with the manifest once the backup is there.
 * -EEXIST when there is one of that name. */
int backup_make(const struct backup_order *o, void (*each)(void *arg, const struct manifest *m), void *arg,
                struct err *e);
/* Removes what was being made or removed in the folder by a process that ended. */
void backup_tidy(const char *folder);
/* Removes a whole backup: first it is none any more, then its files go. */
int backup_remove(const char *folder, const char *name, struct err *e);

#endif
