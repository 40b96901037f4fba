/* The collector's side of privacy: the rules made of the configuration, the profilers' public key, the counters of what
 * was taken out or ignored. */
#ifndef WAYMARK_GUARD_H
#define WAYMARK_GUARD_H

#include "collector/decode.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/http.h"
#include "common/stats.h"
#include "proto/codec.h"

struct guard;

/* Reads keys and secrets; on the embedded log keys that are missing are made. 0 or a negative errno with
 * the words in `e`. Free with guard_free. */
int guard_open(const struct conf *conf, struct stats *stats, struct guard **out, struct err *e);
void guard_free(struct guard *g);

/* Any thread: */

/* The rules, and what the headers of a beacon's request refuse. The address of `in` becomes what may be kept of it, in
 * the arena, which must live as long as `in`. */
void guard_input(const struct guard *g, struct http_request *r, struct arena *a, struct decode_input *in);
/* Counts what was found, and seals the personal part into the event. 0 or -ENOMEM. */
int guard_event(struct guard *g, const struct decode_notes *notes, struct arena *a, struct event *e);
/* Counts what was found in an event that was refused, and cuts and seals its bytes. 0 or -ENOMEM. */
int guard_bad(struct guard *g, const struct decode_notes *notes, struct arena *a, struct bad_event *bad);

#endif
