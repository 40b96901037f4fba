/* The inside of JSON's tokens, for the reader and the writer only. Pure. */
#ifndef WAYMARK_JSON_TEXT_H
#define WAYMARK_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the well-formed character at p, of n > 0 bytes; 0 when there is none (over-long forms, surrogates and what
 * lies beyond U+10FFFF are none). *bad is then the length of the longest prefix of a character, at least 1. */
size_t json_utf8_length(const char *p, size_t n, size_t *bad);

/* Bytes of the number at p, as JSON's grammar has it, of any size; 0 when there is none. What follows is the caller's
 * to check. */
size_t json_number_length(const char *p, size_t n);

/* The text of a string's inside (without quotes), whose first backslash is known, at `to`, which must have room for
 * `n` bytes. A surrogate without its other half is overwritten in the source by fffd. False, with the offset of the
 * escape, for an escape that JSON does not have. */
bool json_unescape(char *s, size_t n, size_t backslash, char *to, size_t *written, size_t *bad);

#endif
