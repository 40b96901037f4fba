/* Stands in until the Kafka log is there. */
#include "common/event_log.h"
#include <errno.h>
__attribute__((weak)) int event_log_kafka_check(const struct kafka_property *p, struct err *e)
{
    (void)p, (void)e;
    return 0;
}
__attribute__((weak)) int event_log_open_kafka(const struct event_log_kafka_options *o, struct event_log **out,
                                               struct err *e)
{
    (void)o, (void)out;
    err_set(e, "not built yet");
    return -ENOSYS;
}
