/* The gauges of a disk. They are made on the thread that makes the text of the metrics; nothing is kept between. */
#include "common/disk.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

uint64_t disk_free(const char *folder)
{
    char path[4096];
    struct statvfs disk;

    if ((size_t)snprintf(path, sizeof path, "%s", folder) >= sizeof path)
        return 0;
    while (statvfs(path, &disk) != 0) {
        char *end = strrchr(path, '/');
        if (!end || path[1] == '\0')
            return 0;
        end[end == path] = '\0'; /* the root stays */
    }
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

static void write_gauges(struct buf *out, void *arg)
{
    const struct disk_gauges *g = arg;

    stats_gauge_head(out, "waymark_disk_free_bytes", "Room on the disk of the program's data.");
    stats_gauge_line(out, "waymark_disk_free_bytes", NULL, (double)disk_free(g->folder));
    stats_gauge_head(out, "waymark_disk_reserve_bytes", "Room below which events are refused.");
    stats_gauge_line(out, "waymark_disk_reserve_bytes", NULL, (double)g->reserve);
}

void disk_gauges_add(struct stats *s, struct disk_gauges *g)
{
    assert(g->folder && g->folder[0] == '/');
    stats_add_gauges(s, write_gauges, g);
}
