/* Backups as they lie in a folder: FOLDER/NAME, or FOLDER/INSTANCE/NAME where several instances share the folder. Each
 * is a folder with a manifest and the copy of a state. Blocking; any thread that may wait. */
#ifndef WAYMARK_CHECKPOINT_H
#define WAYMARK_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "profiler/copy_files.h"
#include "profiler/manifest.h"

/* Which log offsets are of: those of another say nothing here, however great they are. */
struct checkpoint_log {
    const char *event_log, *topic_prefix; /* as in the manifest */
    uint32_t partitions;
};

/* The one that a configuration names; lives with it. */
struct checkpoint_log checkpoint_log_of(const struct conf *conf);

/* Finds the newest place of a partition: of all backups under `folder` that hold it at an offset of `log_begin` or
 * later, the one with the greatest offset. Those of the greatest base, which is `base` at least, alone: the others are
 * of a log that was lost. Reads their manifests, and then the files of that partition in the one it
 * chose, whose hashes must be right; a damaged one is passed over for the next, with a warning. `path` is what
 * state_take_partition takes, `offset` the state's own. 0, 1 when there is none, or a negative errno. */
enum { CHECKPOINT_NONE = 1 };
int checkpoint_find(const char *folder, const struct checkpoint_log *log, uint32_t partition, int64_t log_begin,
                    int64_t base, char *path, size_t size, int64_t *offset, struct err *e);
/* The greatest offset, of the state's own, at which any of them holds the partition, and in `path` which one: whether
 * there is more than in a state at hand. The same results. */
int checkpoint_newest(const char *folder, const struct checkpoint_log *log, uint32_t partition, char *path, size_t size,
                      int64_t *offset, struct err *e);

/* Whether the files of a backup are those of its manifest: sizes, hashes, none missing, none beside them. `only` NULL,
 * or a partition: then just its files and those that all share are looked at, each for its hash. -EBADMSG, with words
 * that name the file, when they are not. */
int checkpoint_check(const char *backup, const struct manifest *m, const uint32_t *only, const struct copy_progress *p,
                     struct err *e);

/* Calls `each` for every folder under `folder` that has a manifest: its path, and the manifest or, when that cannot be
 * read, NULL and why. `each` returns 0 to go on. What it returns otherwise is returned. No folder is as an empty one.
 */
typedef int checkpoint_visitor(void *arg, const char *path, const struct manifest *m, const struct err *why);
int checkpoint_each(const char *folder, checkpoint_visitor *each, void *arg, struct err *e);

#endif
