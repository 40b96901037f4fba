/* Records of the audit log as lines of audit.log: one JSON object each. Pure. */
#ifndef WAYMARK_AUDIT_LINE_H
#define WAYMARK_AUDIT_LINE_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/json.h"
#include "proto/codec_audit.h"

/* "read", "export", "erasure", "identity"; NULL for what is no kind of a record. */
const char *audit_kind_name(unsigned kind);
/* Appends the record and a newline. */
void audit_line_write(struct buf *b, const struct audit_record *r);
/* Reads a line without its newline, which may be written to, as by json_parse. What it has lives in the parser, the
 * line and the arena. False: it is none. */
bool audit_line_read(struct json_parser *p, char *line, size_t n, struct arena *a, struct audit_record *out);

#endif
