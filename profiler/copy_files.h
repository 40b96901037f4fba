/* Files of backups: hashed, copied, removed. Blocking; any thread that may wait. */
#ifndef WAYMARK_COPY_FILES_H
#define WAYMARK_COPY_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "profiler/manifest.h"

#define COPY_PATH_BYTES 4096

/* Told how far a long job is; false: it shall stop, and ends with -ECANCELED. */
struct copy_progress {
    bool (*more)(void *arg, uint64_t bytes);
    void *arg;
};
bool copy_goes_on(const struct copy_progress *p, uint64_t bytes);

/* "a/b"; -ENAMETOOLONG, with words, when it does not fit. */
int copy_path(char out[COPY_PATH_BYTES], const char *folder, const char *name, struct err *e);

/* Hash and size of a plain file, which is on disk when this returns. `to` NULL, or where a copy of it is made, which
 * must not be there yet and is on disk, too. 0 or a negative errno with words that name the file. */
int copy_hash(const char *from, const char *to, const struct copy_progress *p, unsigned char hash[MANIFEST_HASH_BYTES],
              uint64_t *size, struct err *e);
/* Makes a folder for us alone. */
int copy_make_folder(const char *path, struct err *e);
/* The names that are in a folder are on disk. */
int copy_sync_folder(const char *path, struct err *e);
/* Renames, and waits until that is on disk. `to` must not be there, as a file. */
int copy_rename(const char *from, const char *to, struct err *e);
/* Removes a folder with all there is in it; does not follow links. What cannot be removed stays. */
void copy_remove(const char *path);
/* Sum of sizes of the plain files in a folder. */
int copy_folder_bytes(const char *path, uint64_t *out, struct err *e);
/* -ENOSPC, with words, unless `bytes` fit and leave `reserve` free. */
int copy_check_space(const char *folder, uint64_t bytes, uint64_t reserve, struct err *e);

/* Every plain file of a folder by name; other entries are an error. `each` returns 0 or a negative errno. */
int copy_each_file(const char *path, int (*each)(void *arg, const char *name, struct err *e), void *arg, struct err *e);

#endif
