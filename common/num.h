/* Numbers as people and JSON write them; money as micros, never through a float. Pure. */
#ifndef WAYMARK_NUM_H
#define WAYMARK_NUM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/str.h"

/* Sums of micros. 128 bits: 10^9 units x 10^6 pieces x as many orders as there will ever be. */
typedef __int128 money;

#define MICROS INT64_C(1000000)

enum { NUM_OK = 0, NUM_BAD = 1, NUM_RANGE = 2 };

/* An amount in micros from the text of a JSON number (any number of digits, an exponent; rounded half away from zero
 * to six decimals) or, with `strict`, a decimal string with at most six decimals and no exponent. NUM_BAD: no number.
 * NUM_RANGE: over 10^9 units in size. *out is written only on NUM_OK. */
int num_micros(struct str text, bool strict, int64_t *out);
/* A whole number of any size up to `max` in size, negative too; "3", "3.0" and "3e0" are 3, "3.5" is NUM_BAD. */
int num_integer(struct str text, int64_t max, int64_t *out);
/* Decimal digits only, the whole text, no sign, up to UINT64_MAX. */
int num_u64(struct str text, uint64_t *out);
/* The shortest exact decimal: 8300065.814, 5, -0.000001, 0. */
void num_write_micros(struct buf *b, money micros);
/* Decimal digits, with a sign when negative. */
void num_write_int(struct buf *b, int64_t v);
/* The shortest text that reads back as the same double, as a JSON number; null when not finite. */
void num_write_double(struct buf *b, double v);

#endif
