/* What an import did: on disk so that it can go on after a cut, and in words at its end. One thread. */
#ifndef WAYMARK_IMPORT_REPORT_H
#define WAYMARK_IMPORT_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/str.h"

#define IMPORT_REASONS 32
#define IMPORT_SHOWN 3

struct import_reason {
    char code[48];
    bool refused; /* by the collector; the others are found by reading the file */
    uint64_t rows;
    uint64_t shown[IMPORT_SHOWN]; /* the first row numbers */
};

struct import_report {
    char path[4096]; /* of the progress file */
    char file[1024];
    uint64_t rows, events; /* read; made of them */
    uint64_t accepted;
    uint64_t acked; /* events answered, accepted or refused: where to go on */
    bool complete;
    struct import_reason reasons[IMPORT_REASONS];
    size_t reason_count;
    FILE *skipped; /* every skipped row, or NULL */
    int64_t saved_ms;
};

/* Reads the progress of the same file (path, size, time of change) under the same mapping, if there is any. */
bool import_report_open(struct import_report *r, const char *data, const char *file, uint64_t mapping,
                        const char *skipped);
void import_report_close(struct import_report *r);
void import_report_forget(struct import_report *r);
/* A row that did not become an accepted event. `refused`: the collector said so. */
void import_report_skip(struct import_report *r, uint64_t row, bool refused, struct str code, struct str message);
/* Written at most once a second unless `now`. */
void import_report_save(struct import_report *r, bool now);
/* On standard output: rows, events, accepted, and skipped rows by reason. */
void import_report_print(const struct import_report *r);

#endif
