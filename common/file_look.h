/* How a file looks from outside: a file that changed looks otherwise, and is read again. Pure but for a stat call; any
 * thread. */
#ifndef WAYMARK_FILE_LOOK_H
#define WAYMARK_FILE_LOOK_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct file_look {
    bool there;
    bool fresh; /* written so lately that it may change once more without showing it */
    struct timespec written, changed;
    off_t size;
    ino_t inode;
    dev_t device;
};

/* Take it before the file is read: what changes meanwhile is seen the next time. */
struct file_look file_look(const char *path);
bool file_look_same(const struct file_look *a, const struct file_look *b);

#endif
