/* Rows of a file to import: CSV with a head line, or NDJSON. Streams; one row is in memory. Pure but for the FILE. */
#ifndef WAYMARK_ROWS_H
#define WAYMARK_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/str.h"

#define ROWS_COLUMNS 512
#define ROWS_RECORD_BYTES (4u << 20)

struct rows;

/* CSV as RFC 4180 has it, with any one-character delimiter; the first record names the columns. NDJSON: the members of
 * a line's object are its columns. NULL with a message on standard error. */
struct rows *rows_open(const char *path, bool ndjson, char delimiter);
void rows_close(struct rows *r);

enum { ROWS_END = 0, ROWS_ROW = 1, ROWS_BAD = 2 };
/* The next row. ROWS_BAD: one that cannot be used; *why (a literal) says so and reading goes on. At the end
 * rows_broken says whether it is the file's end. */
int rows_next(struct rows *r, const char **why);
bool rows_broken(const struct rows *r);
/* The value of a column of this row; absent when there is no such column or it is empty (JSON null). A JSON string
 * gives its text, other JSON values their raw text. Lives until rows_next. */
struct str rows_value(const struct rows *r, struct str column);
/* The line as it is (NDJSON only). */
struct str rows_line(const struct rows *r);
uint32_t rows_height(const struct rows *r);                    /* of its JSON */
uint64_t rows_number(const struct rows *r);                    /* of this row, from 1, without the head */
uint64_t rows_offset(const struct rows *r);                    /* bytes read so far */
uint64_t rows_size(const struct rows *r);                      /* of the file */
bool rows_has_column(const struct rows *r, struct str column); /* CSV only; NDJSON: true */

#endif
