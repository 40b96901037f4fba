/* Characters of texts for exports: UTF-8 in and out, lower case, which are letters. Private to export_*.c. Pure. */
#ifndef WAYMARK_EXPORT_TEXT_H
#define WAYMARK_EXPORT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/str.h"

/* The character at the beginning of `s` and its length; what is no UTF-8 is read byte by byte as U+FFFD. s.n > 0. */
uint32_t text_char(struct str s, size_t *length);
uint32_t text_lower(uint32_t c);
bool text_blank(uint32_t c);       /* white space of any kind, and what has no width */
bool text_punctuation(uint32_t c); /* and symbols of ASCII and Latin, dashes and quotes */
bool text_digit(uint32_t c);
/* Without white space around it. */
struct str text_trim(struct str s);

/* A text being written into the arena: room for what `n` bytes may become in lower case. `p` NULL: memory is out. */
struct text {
    char *p;
    size_t n;
};
struct text text_begin(struct arena *a, size_t n);
void text_put(struct text *t, uint32_t c);
/* Absent when nothing was written. */
struct str text_end(struct text *t);

#endif
