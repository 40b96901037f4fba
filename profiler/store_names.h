/* How the store names its column families and files, and what it leaves in its folder. For store.c; knows nothing of
 * RocksDB. Any thread. */
#ifndef WAYMARK_STORE_NAMES_H
#define WAYMARK_STORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_NAME_BYTES 32
#define STORE_PATH_BYTES 4096

/* A partition has one family, and for a moment two: one that is to take its place has a later generation, and counts
 * from when it is whole. */
struct store_name {
    uint32_t partition, generation;
};

/* "p7" of the first generation, then "p7.1" and so on. */
void store_name_write(struct store_name n, char to[STORE_NAME_BYTES]);
/* False for a text that is no such name. */
bool store_name_read(const char *text, struct store_name *out);

/* A file on its way into a family: number `n` of those that go in together. */
void store_new_file(const char *folder, uint32_t family, size_t n, char to[STORE_PATH_BYTES]);
/* Removes all of these: what was not taken in when the process ended. */
void store_remove_new_files(const char *folder);

/* Whether another process has the folder open: an open for reading alone does not ask. */
bool store_is_locked(const char *folder);

#endif
