/* How rows become events: a small YAML file with templates. config/import/ has examples and README the language. */
#ifndef WAYMARK_MAPPING_H
#define WAYMARK_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/rows.h"
#include "common/buf.h"

struct mapping;

/* Reads a mapping file. NULL after every mistake was printed as file:line:column. */
struct mapping *mapping_load(const char *file);
void mapping_free(struct mapping *m);

bool mapping_ndjson(const struct mapping *m);
char mapping_delimiter(const struct mapping *m);
const char *mapping_route(const struct mapping *m);
/* Name of the column whose equal values make one event of several rows; absent: a row is an event. */
struct str mapping_group(const struct mapping *m);
/* Rows without another of its group after which a group is whole. */
uint64_t mapping_window(const struct mapping *m);
/* Whether every column that the file names is there; says on standard error which is not. */
bool mapping_fits(const struct mapping *m, const struct rows *r);

/* Rows are rendered one by one: the first of an event opens it, each adds its element of the repeated list, and the
 * whole is put together in the end. */
struct mapping_event {
    struct buf open; /* all but its rows */
    struct buf rows; /* the rendered rows */
    size_t at;       /* where the rows go in `open`; SIZE_MAX: nowhere */
    int shape;       /* the case that its first good row chose, or MAPPING_NONE */
};
#define MAPPING_NONE (-1)

void mapping_event_init(struct mapping_event *e);
void mapping_event_deinit(struct mapping_event *e);
/* NULL, or why this row cannot be used (a literal); the event is then as before. */
const char *mapping_add(const struct mapping *m, const struct rows *r, struct mapping_event *e);
/* Appends the whole JSON object of an event that a row has opened. */
bool mapping_finish(const struct mapping_event *e, struct buf *out);
/* Hash of the file's content, so that a resumed import knows that it is the same. */
uint64_t mapping_hash(const struct mapping *m);

#endif
