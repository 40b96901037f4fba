/* Webhooks: changes of audiences told to other systems over HTTP, by Standard Webhooks (headers webhook-id,
 * webhook-timestamp, webhook-signature "v1,BASE64" of HMAC-SHA256 over "id.timestamp.body"). Whom to tell, of which
 * audiences and with which traits and tags, stands in the configuration.
 *
 * A thread reads LOG_AUDIENCES for each hook from the place up to which everything was delivered or given up, and posts
 * again with back-off what failed. One hook waits for no other; changes of one person reach a hook in their order. The
 * id is that of the record, so that whoever gets one twice, which a crash leads to, knows it. What was given up stands
 * in a file of its own, with the reason.
 *
 * A hook that is there for the first time is told what happens from then on. Where several profilers share the log, who
 * gets a partition tells of it what is a day old at most, since nobody knows what was told before. */
#ifndef WAYMARK_WEBHOOKS_H
#define WAYMARK_WEBHOOKS_H

#include "common/conf.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/audiences.h"

struct webhooks;
struct webhooks_options {
    const struct conf *conf;
    struct event_log *log;
    struct audiences *audiences;
    struct state *state;
    const struct fold_rules *rules;
    struct stats *stats;
    const char *path; /* folder: places, and what was given up */
    bool (*shows)(void *arg, uint32_t partition);
    void *arg;
};
/* *out is NULL when no hook is configured, which the other calls allow. 0 or a negative errno with words. */
int webhooks_start(const struct webhooks_options *o, struct webhooks **out, struct err *e);
/* There may be more on LOG_AUDIENCES. Any thread, quick. */
void webhooks_wake(struct webhooks *w);
/* Gives up waiting for answers after `ms`; what was not delivered is delivered after the next start. */
void webhooks_stop(struct webhooks *w, int64_t ms);
/* After webhooks_stop, once nobody reads the stats. */
void webhooks_free(struct webhooks *w);

#endif
