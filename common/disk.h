/* What Prometheus is told of a disk: how much is free where a program keeps its data, and the reserve below which it
 * refuses events. */
#ifndef WAYMARK_DISK_H
#define WAYMARK_DISK_H

#include <stdint.h>

#include "common/stats.h"

struct disk_gauges {
    const char *folder; /* need not be there yet */
    uint64_t reserve;   /* bytes */
};

/* Adds waymark_disk_free_bytes and waymark_disk_reserve_bytes. `g` must outlive the last stats_write. */
void disk_gauges_add(struct stats *s, struct disk_gauges *g);
/* Bytes that may be written to the file system of the folder, or of the nearest one above it that is there; 0 when that
 * cannot be told. Any thread. */
uint64_t disk_free(const char *folder);

#endif
