/* Looking for bytes in the files of a folder. For tests of C, behind cmocka.h. */
#ifndef WAYMARK_TESTS_LOG_BYTES_H
#define WAYMARK_TESTS_LOG_BYTES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Which files of a folder have a text in them: how many with that ending. */
static inline int files_with(const char *folder, const char *ending, const char *text)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    int found = 0;

    assert_non_null(d);
    while ((entry = readdir(d))) {
        size_t n = strlen(entry->d_name), t = strlen(ending);
        struct stat st;
        char *bytes;

        if (n < t || strcmp(entry->d_name + n - t, ending) != 0)
            continue;
        int fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue; /* removed just then */
        assert_int_equal(fstat(fd, &st), 0);
        bytes = st.st_size > 0 && S_ISREG(st.st_mode) ? malloc((size_t)st.st_size) : NULL;
        ssize_t got = bytes ? pread(fd, bytes, (size_t)st.st_size, 0) : 0;
        found += got > 0 && memmem(bytes, (size_t)got, text, strlen(text)) != NULL;
        free(bytes);
        close(fd);
    }
    closedir(d);
    return found;
}

/* A text that compression leaves as it is. */
static inline void random_text(char out[33])
{
    for (int i = 0; i < 32; i++)
        out[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"[rand() % 64];
    out[32] = '\0';
}

#endif
