/* What a backup says of itself: manifest.json in its folder, written last, so that a backup that has one is whole. A
 * JSON object, with a hash of every file (BLAKE2b of 32 bytes) and of its own text before that hash. One thread. */
#ifndef WAYMARK_MANIFEST_H
#define WAYMARK_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

#define MANIFEST_NAME "manifest.json"
#define MANIFEST_STATE "state" /* the folder of the copy, beside it */
#define MANIFEST_HASH_BYTES 32
/* Of a file that belongs to no partition alone. */
#define MANIFEST_SHARED UINT32_MAX

struct manifest_file {
    const char *name; /* within the folder of the copy; no path */
    uint64_t size;
    unsigned char hash[MANIFEST_HASH_BYTES];
    uint32_t partition;
};

/* A partition that the copy holds something of. */
struct manifest_partition {
    uint32_t number;
    int64_t offset, began; /* next to read; where the state began: of the log */
    int64_t base;          /* what the state's own are more; greater for each log that it went on with */
};

struct manifest {
    const char *version, *instance;
    const char *event_log, *topic_prefix; /* "embedded" or "kafka" */
    int64_t made_at;                      /* wall ms */
    bool scheduled;                       /* made by the profiler by itself */
    uint32_t partition_count;
    struct manifest_partition *partitions;
    size_t partitions_held;
    struct manifest_file *files;
    size_t file_count;
    void *private;
};

/* The whole text. False when the buffer failed. */
bool manifest_write(const struct manifest *m, struct buf *b);
/* What people and programs want to know of it: the text without the files, with `name`, and the sum of sizes. */
void manifest_write_summary(const struct manifest *m, const char *name, struct buf *b);
/* Takes text apart. -EBADMSG, with words, for one that is damaged or of another format. */
int manifest_parse(struct str text, struct manifest **out, struct err *e);
/* Reads that of the backup in `folder`. -ENOENT when there is none. */
int manifest_read(const char *folder, struct manifest **out, struct err *e);
/* Of one from manifest_parse or manifest_read. NULL is allowed. */
void manifest_free(struct manifest *m);

/* NULL when it does not hold the partition. */
const struct manifest_partition *manifest_partition(const struct manifest *m, uint32_t number);
uint64_t manifest_bytes(const struct manifest *m);

#endif
