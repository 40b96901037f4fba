/* Which path is which route, decided on the raw path: an encoded slash never makes another one. Pure. */
#ifndef WAYMARK_ROUTES_H
#define WAYMARK_ROUTES_H

#include <stdbool.h>

#include "common/str.h"
#include "proto/event.h"

enum route_kind {
    ROUTE_EVENTS, /* calls in Segment's shape */
    ROUTE_ORDERS, /* order logs */
    ROUTE_PIXEL,
    ROUTE_DISCARD, /* an SDK's own metrics: taken and forgotten */
    ROUTE_LIVE,
    ROUTE_READY,
    ROUTE_METRICS
};

struct route {
    const char *path;
    enum route_kind kind;
    enum event_type type; /* of a single-call route; else 0 */
    const char *label;    /* of the metrics; one for all spellings */
};

/* NULL when there is none. The struct is static. */
const struct route *route_find(struct str raw_path);
bool route_allows(const struct route *r, struct str method);
/* The value of an Allow header. */
const char *route_methods(const struct route *r);

#endif
