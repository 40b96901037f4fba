/* What is sent to a webhook: the body of a change, and its signature by Standard Webhooks. Pure; any thread. */
#ifndef WAYMARK_WEBHOOK_BODY_H
#define WAYMARK_WEBHOOK_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "profiler/audience_change.h"

#define WEBHOOK_SIGNATURE_BYTES 48 /* "v1,", base64 of 32 bytes, NUL */

/* {"type":"audience.entered","timestamp":"…","data":{"audience","id","time","entered_at","because","event":{…},
 * "traits":{…},"tags":{…}}}; `traits` and `tags` are JSON objects. False when it does not fit. */
bool webhook_body_write(const struct audience_change *c, struct str traits, struct str tags, struct buf *out);

/* Those members of a JSON object whose names are in the list, as an object. 0, 1: it is none, -ENOMEM. */
int webhook_choose(struct str object, const char *const *names, size_t n, struct arena *a, struct buf *out);

/* "v1,BASE64" of HMAC-SHA256 over "id.seconds.body". */
void webhook_sign(const unsigned char *key, size_t key_bytes, const char *id, int64_t seconds, struct str body,
                  char out[WEBHOOK_SIGNATURE_BYTES]);

#endif
