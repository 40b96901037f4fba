/* Bringing a backup back into the state of a stopped instance. Blocking: commands. */
#ifndef WAYMARK_RESTORE_H
#define WAYMARK_RESTORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "profiler/copy_files.h"
#include "profiler/manifest.h"
#include "profiler/state.h"

struct restore_options {
    const struct state_options *state; /* as the profiler opens it */
    const char *backup;                /* its folder */
    const struct manifest *manifest;   /* of it */
    const uint32_t *partitions;        /* that are to be replaced in the state that is there */
    size_t partition_count;            /* 0: the whole state is replaced */
    uint64_t reserve_bytes;            /* of free space, to leave */
    struct copy_progress progress;     /* told the bytes that were checked and those that were copied */
    /* Lines for people: what was kept aside, where each partition stands. */
    void (*say)(void *arg, const char *line);
    /* May be NULL. Each partition restored. */
    void (*stands)(void *arg, uint32_t partition, int64_t offset);
    void *arg;
};

/* Checks every file of the backup that is needed, then the settings, then takes it; a state that is there is moved
 * aside when the whole is replaced. After a failure or a crash there is the old state or the new one, of each partition
 * when partitions are replaced. 0 or a negative errno with words: -EBUSY when the instance runs, -EBADMSG when the
 * backup is damaged, -EINVAL when it was made with other settings. */
int restore_run(const struct restore_options *o, struct err *e);

#endif
