/* Whether a record of the log is the one that a state folded: by its offset and the uid of its event, or that
 * it was one of somebody who was erased since. Pure. */
#ifndef WAYMARK_SAME_LOG_H
#define WAYMARK_SAME_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/event_log.h"
#include "proto/keys.h"

bool same_event(const struct log_record *record, int64_t offset, const struct uid *uid);

#endif
