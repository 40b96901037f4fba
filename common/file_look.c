/* Noticing that a file changed; see file_look.h. */
#include "common/file_look.h"

#include <stdint.h>
#include <sys/stat.h>

#include "common/clock.h"

#define FRESH_MS 2000 /* some file systems note a time in whole seconds */

static int64_t milliseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct file_look file_look(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return (struct file_look){0};
    int64_t age = clock_now() - milliseconds(st.st_mtim);
    return (struct file_look){.there = true,
                              .fresh = age < FRESH_MS && age > -FRESH_MS,
                              .written = st.st_mtim,
                              .changed = st.st_ctim,
                              .size = st.st_size,
                              .inode = st.st_ino,
                              .device = st.st_dev};
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Leaves out `fresh`: that is about the moment of looking. */
bool file_look_same(const struct file_look *a, const struct file_look *b)
{
    return a->there == b->there && same_time(a->written, b->written) && same_time(a->changed, b->changed) &&
           a->size == b->size && a->inode == b->inode && a->device == b->device;
}
