/* One change of membership: a record of LOG_AUDIENCES (LOG_KIND_CHANGE), JSON for whoever reads the topic. The key is
 * that of the person's events. Pure.
 *
 * {"audience":"loyal","action":"entered"|"left","id":"user:42","time":"…","entered_at":"…","version":…,
 *  "rule_version":"…","because":"event"|"time"|"rule"|"erased","event":{"message_id","name","time"}} */
#ifndef WAYMARK_AUDIENCE_CHANGE_H
#define WAYMARK_AUDIENCE_CHANGE_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/str.h"

enum change_because { BECAUSE_EVENT, BECAUSE_TIME, BECAUSE_RULE, BECAUSE_ERASED };

struct audience_change {
    struct str audience, id;
    bool entered;
    int64_t time;       /* of the decision */
    int64_t entered_at; /* also of one that leaves; TIME_NONE: not known */
    int64_t version;    /* of the profile */
    int64_t rule_version;
    enum change_because because;
    struct str message_id, event_name; /* of the deciding event; absent when time or a rule decided */
    int64_t event_time;
};

/* "event", … Pure. */
const char *audience_change_because(enum change_because because);
bool audience_change_write(const struct audience_change *c, struct buf *b);
/* 0, 1: it is none, -ENOMEM. `bytes` is copied. */
int audience_change_read(struct str bytes, struct arena *a, struct audience_change *out);

#endif
