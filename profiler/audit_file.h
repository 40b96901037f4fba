/* The files of the audit log in the data folder: audit.log, which grows, and the full ones audit.log.000001 and so on,
 * of which the youngest are kept. One thread at a time; each call may wait for the disk. */
#ifndef WAYMARK_AUDIT_FILE_H
#define WAYMARK_AUDIT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"

struct audit_file {
    char folder[4096];
    int fd;            /* -1: to be opened again */
    uint64_t size;     /* up to here lines are on disk; what is behind is not */
    bool torn;         /* more than `size` may stand there */
    uint64_t full;     /* a file of that size is closed */
    unsigned kept;     /* closed files */
    uint64_t youngest; /* number of the closed file that was closed last; 0: none */
};

/* Opens or makes audit.log (mode 0600) and cuts a line off that a crash has left half. `folder` exists. 0 or a negative
 * errno with `e` filled. */
int audit_file_open(struct audit_file *f, const char *folder, uint64_t full, unsigned kept, struct err *e);
void audit_file_close(struct audit_file *f);
/* Appends whole lines: on disk when it returns 0. After a failure none of them counts, and the call may be repeated.
 * Closes the file and begins the next one when it is full; the oldest closed ones go. */
int audit_file_append(struct audit_file *f, struct str lines, struct err *e);
/* The last lines of audit.log, or of the file closed last when that has none: at most `bytes` of them, whole ones only.
 */
int audit_file_tail(struct audit_file *f, size_t bytes, struct buf *out, struct err *e);

/* The closed files of a folder by their numbers, oldest first; the caller frees. Returns how many, or a negative errno.
 */
int audit_file_list(const char *folder, uint64_t **out, struct err *e);
/* "FOLDER/audit.log" for 0, else "FOLDER/audit.log.000012". False when it does not fit. */
bool audit_file_path(const char *folder, uint64_t number, char *out, size_t size);

#endif
