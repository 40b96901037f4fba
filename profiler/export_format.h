/* Rows of an export's file in its format. Pure.
 *
 * csv     RFC 4180, the columns as they were asked for; a text that a spreadsheet would take for a formula gets a '
 *         before it. A delta has `action` (add, remove) and `key` before them: a removal has only these.
 * ndjson  an object a line, with the same members.
 * google  Customer Match: Email, Email, Email, Phone, Phone, First Name, Last Name, Country, Zip; hashed but for the
 * last two. A delta has `action` behind them. meta    Custom Audiences: email, email, phone, phone, phone, madid, fn,
 * ln, zip, ct, st, country, doby, gen and, where it was asked for, value; hashed but for madid and value. A delta
 * likewise. */
#ifndef WAYMARK_EXPORT_FORMAT_H
#define WAYMARK_EXPORT_FORMAT_H

#include "common/json.h"
#include "profiler/export_person.h"

/* What identifies somebody in a row, a bit each. */
enum export_identifier { BY_EMAIL, BY_PHONE, BY_ADDRESS, BY_DEVICE, EXPORT_IDENTIFIERS };
extern const char *const export_identifier_names[EXPORT_IDENTIFIERS];

/* The head of the file; nothing for ndjson. False when `b` is full. */
bool export_head(const struct export_request *r, struct buf *b);

/* What a network is told of a person, without action and end of line. `found`: what identifies them; 0: the network
 * could not find them, and the line is worth nothing. */
bool export_line_google(const struct export_person *p, const struct export_request *r, struct arena *a, struct buf *b,
                        unsigned *found);
bool export_line_meta(const struct export_person *p, const struct export_request *r, struct str value, struct arena *a,
                      struct buf *b, unsigned *found);
/* Of a free list: cells as JSON, absent for nothing, in the order of the columns. */
bool export_line_csv(const struct export_request *r, const struct str *cells, struct json_parser *parser,
                     struct arena *a, struct buf *b);
bool export_line_ndjson(const struct export_request *r, const struct str *cells, struct buf *b);
/* The row made of it. Of a removal from a free list `line` is not looked at. `key`: hex, of deltas. */
bool export_row(const struct export_request *r, struct str line, bool remove, const char *key, struct buf *b);
/* What is kept to remove somebody from a network later: the line, without what else it says where an address, a number
 * or a device is enough. */
bool export_line_least(const struct export_request *r, struct str line, struct buf *b);

bool export_is_network(const struct export_request *r);
const char *export_content_type(enum export_kind kind);
const char *export_extension(enum export_kind kind);

#endif
