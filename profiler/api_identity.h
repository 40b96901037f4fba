/* What the routes of identity share. Private to api_identity*.c. */
#ifndef WAYMARK_API_IDENTITY_H
#define WAYMARK_API_IDENTITY_H

#include "profiler/api_ask.h"
#include "profiler/state_identity.h"

/* Reads {"anonymous_id":…,"user_id":…} with a time of that name; other members are refused: a misspelt time would
 * change more than was meant. Texts go into the arena of the request. False when it has answered. */
struct step_rule {
    const char *time_name;
    bool time_needed; /* else it is now */
};
struct json;
bool step_read(struct ask *ask, const struct json *object, const struct step_rule *rule, struct identity_step *out);
/* Parses a text with JSON_PADDING behind it and has it read. False when it has answered. */
typedef bool step_reader(struct ask *ask, const struct json *root, struct identity_step *out);
bool step_parse(struct ask *ask, char *bytes, size_t n, step_reader *read, struct identity_step *out);
/* The profiles that it names, for the audit log. */
void step_audit(struct ask *ask, const struct identity_step *step);
/* Appends the object of GET …/identity for the id of the request. Without `others` a device's users are only counted.
 * 0, STATE_NOT_FOUND or a negative errno; then something may be written. */
int identity_write(struct ask *ask, struct arena *a, bool others, struct buf *b, struct err *e);
/* ,"key":"2026-01-31T…" or null. */
void identity_write_time(struct buf *b, const char *key, int64_t time);
/* ,"key":"user:ID" */
void identity_write_id(struct buf *b, const char *key, const char *kind, struct str id);

#endif
