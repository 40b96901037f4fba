/* Webhooks: changes of audiences told to other systems over HTTP, by Standard Webhooks (headers webhook-id,
 * webhook-timestamp, webhook-signature "v1,BASE64" of HMAC-SHA256 over "id.timestamp.body"). A thread reads
 * LOG_AUDIENCES from the place up to which everything was delivered, or given up, and asks again with back-off what
 * failed; the id is that of the record, so whoever gets one twice knows it. What was given up stands in a file of its
 * own, with the reason.
 *
 * An audience names its hooks: {"rule":…,"webhooks":["crm"],"webhook_traits":["city"]}; hooks stand in the
 * configuration (name, url, secret). */
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
int webhooks_start(const struct webhooks_options *o, struct webhooks **out, struct err *e);
void webhooks_wake(struct webhooks *w);
/* Gives up waiting for answers after `ms`; what was not delivered is delivered after the next start. */
void webhooks_stop(struct webhooks *w, int64_t ms);

#endif
