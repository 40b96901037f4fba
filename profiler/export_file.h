/* A file of an export while it is written: buffered, hashed, mode 0600, never filling the disk. One thread. */
#ifndef WAYMARK_EXPORT_FILE_H
#define WAYMARK_EXPORT_FILE_H

#include "common/buf.h"
#include "common/err.h"
#include "profiler/export_hash.h"

struct export_file {
    char path[4096];
    int fd; /* -1: none */
    struct buf out;
    struct export_hasher hasher;
    uint64_t bytes, checked;
    uint64_t reserve;
    int error; /* sticky; negative errno */
};

/* Makes it, in the place of one that is there. 0 or a negative errno with words. */
int export_file_begin(struct export_file *f, const char *folder, const char *name, uint64_t reserve, struct err *e);
/* Where rows are added: call export_file_flow after each. */
static inline struct buf *export_file_out(struct export_file *f)
{
    return &f->out;
}
/* Writes when there is much. 0 or the error, with words: -ENOSPC when the disk would have less than the reserve. */
int export_file_flow(struct export_file *f, struct err *e);
/* Appends another one's bytes, which is flushed. */
int export_file_append(struct export_file *f, struct export_file *from, struct err *e);
int export_file_flush(struct export_file *f, struct err *e);
/* All of it is on disk; its hash. The file is closed. */
int export_file_end(struct export_file *f, char sha256[EXPORT_HEX + 1], struct err *e);
/* Closes and removes what was not ended; nothing after export_file_end or of a zeroed one with fd -1. */
void export_file_drop(struct export_file *f);

#endif
