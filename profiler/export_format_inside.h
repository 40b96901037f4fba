/* What the files of the formats share. Private to export_format*.c. Pure. */
#ifndef WAYMARK_EXPORT_FORMAT_INSIDE_H
#define WAYMARK_EXPORT_FORMAT_INSIDE_H

#include "profiler/export_format.h"

/* By RFC 4180; with `guard` a ' stands before what would be a formula. */
bool export_csv_cell(struct buf *b, struct str s, bool guard);
/* The names of a network's columns. */
void export_network_head(const struct export_request *r, struct buf *b);

#endif
