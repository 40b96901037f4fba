/* The collector's routes as a table. Event routes stand with and without /v1, since hosts of SDKs are often configured
 * without it. Pure; called on the pool threads. */
#include "collector/routes.h"

#define V1 "/v1"

/* Without the /v1 that may stand before them. */
static const struct route event_routes[] = {
    {"/batch", ROUTE_EVENTS, 0, "/v1/batch"},
    {"/b", ROUTE_EVENTS, 0, "/v1/batch"},
    {"/import", ROUTE_EVENTS, 0, "/v1/batch"},
    {"/track", ROUTE_EVENTS, EVENT_TRACK, "/v1/track"},
    {"/t", ROUTE_EVENTS, EVENT_TRACK, "/v1/track"},
    {"/page", ROUTE_EVENTS, EVENT_PAGE, "/v1/page"},
    {"/p", ROUTE_EVENTS, EVENT_PAGE, "/v1/page"},
    {"/identify", ROUTE_EVENTS, EVENT_IDENTIFY, "/v1/identify"},
    {"/i", ROUTE_EVENTS, EVENT_IDENTIFY, "/v1/identify"},
    {"/screen", ROUTE_EVENTS, EVENT_SCREEN, "/v1/screen"},
    {"/s", ROUTE_EVENTS, EVENT_SCREEN, "/v1/screen"},
    {"/group", ROUTE_EVENTS, EVENT_GROUP, "/v1/group"},
    {"/g", ROUTE_EVENTS, EVENT_GROUP, "/v1/group"},
    {"/alias", ROUTE_EVENTS, EVENT_ALIAS, "/v1/alias"},
    {"/a", ROUTE_EVENTS, EVENT_ALIAS, "/v1/alias"},
    {"/m", ROUTE_DISCARD, 0, "/v1/m"},
};

static const struct route other_routes[] = {
    {"/v1/orders", ROUTE_ORDERS, EVENT_ORDER, "/v1/orders"},
    {"/v1/pixel.gif", ROUTE_PIXEL, 0, "/v1/pixel.gif"},
    {"/livez", ROUTE_LIVE, 0, "/livez"},
    {"/readyz", ROUTE_READY, 0, "/readyz"},
    {"/metrics", ROUTE_METRICS, 0, "/metrics"},
};

static const struct route *find_in(const struct route *routes, size_t n, struct str path)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(path, routes[i].path))
            return &routes[i];
    return NULL;
}

const struct route *route_find(struct str raw_path)
{
    const struct route *r = find_in(other_routes, sizeof other_routes / sizeof *other_routes, raw_path);

    if (r)
        return r;
    if (str_starts(raw_path, STR_LIT(V1 "/"))) {
        raw_path.p += sizeof V1 - 1;
        raw_path.n -= sizeof V1 - 1;
    }
    return find_in(event_routes, sizeof event_routes / sizeof *event_routes, raw_path);
}

static bool is_posted(const struct route *r)
{
    return r->kind == ROUTE_EVENTS || r->kind == ROUTE_ORDERS || r->kind == ROUTE_DISCARD;
}

bool route_allows(const struct route *r, struct str method)
{
    if (str_is(method, "OPTIONS"))
        return true;
    if (is_posted(r))
        return str_is(method, "POST");
    return str_is(method, "GET") || str_is(method, "HEAD");
}

const char *route_methods(const struct route *r)
{
    return is_posted(r) ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
}
