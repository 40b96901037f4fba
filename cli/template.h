/* Templates of mapping files: texts with references to columns in them, as "{Day}T{Time|pad:5}". Pure. */
#ifndef WAYMARK_TEMPLATE_H
#define WAYMARK_TEMPLATE_H

#include "cli/rows.h"
#include "common/buf.h"

enum template_kind {
    TEMPLATE_ABSENT, /* a column is empty: the text says nothing */
    TEMPLATE_TEXT,
    TEMPLATE_NUMBER /* one reference and nothing else, with a filter that makes numbers */
};

/* Appends the text for this row. *why (a literal) is set when the row cannot be used. */
enum template_kind template_render(struct str t, const struct rows *r, struct buf *out, const char **why);
/* The first reference to a filter that there is not, or (with `r`) to a column that the file has not: words, and *what
 * it is. NULL when there is none. */
const char *template_fault(struct str t, const struct rows *r, struct str *what);

#endif
