/* The names of families and files of the store. Any thread. */
#include "profiler/store_names.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"

static const char NEW[] = ".new";

void store_name_write(struct store_name n, char to[STORE_NAME_BYTES])
{
    if (n.generation == 0)
        snprintf(to, STORE_NAME_BYTES, "p%u", (unsigned)n.partition);
    else
        snprintf(to, STORE_NAME_BYTES, "p%u.%u", (unsigned)n.partition, (unsigned)n.generation);
}

bool store_name_read(const char *text, struct store_name *out)
{
    unsigned partition = 0, generation = 0;
    char again[STORE_NAME_BYTES];

    if (sscanf(text, "p%9u.%9u", &partition, &generation) < 1 || partition >= LIMIT_PARTITIONS)
        return false;
    *out = (struct store_name){partition, generation};
    store_name_write(*out, again);
    return strcmp(text, again) == 0;
}

void store_new_file(const char *folder, uint32_t family, size_t n, char to[STORE_PATH_BYTES])
{
    snprintf(to, STORE_PATH_BYTES, "%s/commit-%u-%zu%s", folder, (unsigned)family, n, NEW);
}

void store_remove_new_files(const char *folder)
{
    DIR *d = opendir(folder);
    const struct dirent *f;

    if (!d)
        return;
    while ((f = readdir(d)) != NULL) {
        size_t n = strlen(f->d_name), end = sizeof NEW - 1;

        if (n > end && strcmp(f->d_name + n - end, NEW) == 0)
            unlinkat(dirfd(d), f->d_name, 0);
    }
    closedir(d);
}

bool store_is_locked(const char *folder)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char name[STORE_PATH_BYTES];
    int fd;
    bool held;

    snprintf(name, sizeof name, "%s/LOCK", folder);
    fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    held = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return held;
}
