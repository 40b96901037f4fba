/* The table of routes, and finding one. Pool threads. */
#include <string.h>

#include "profiler/api_audience.h"
#include "profiler/api_export_parts.h"

#define MOST_SEGMENTS 6
#define GETS "GET, HEAD"

static const struct route routes[] = {
    {.label = "/v1/profiles/{id}",
     .allow = GETS,
     .segments = {"v1", "profiles", "*"},
     .scope = SCOPE_LOOKUP,
     .personal_id = true,
     .cached = true,
     .prepare = prepare_profile,
     .run = run_profile},
    {.label = "/v1/profiles/{id}",
     .allow = "DELETE",
     .segments = {"v1", "profiles", "*"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_ERASURE,
     .personal_id = true,
     .prepare = prepare_erase},
    {.label = "/v1/erasures/{id}",
     .allow = GETS,
     .segments = {"v1", "erasures", "*"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_NEVER,
     .prepare = prepare_erasure},
    {.label = "/v1/profiles:lookup",
     .allow = "POST",
     .segments = {"v1", "profiles:lookup"},
     .scope = SCOPE_LOOKUP,
     .prepare = prepare_profile,
     .run = run_profiles},
    {.label = "/v1/profiles/{id}/path",
     .allow = GETS,
     .segments = {"v1", "profiles", "*", "path"},
     .scope = SCOPE_LOOKUP,
     .personal_id = true,
     .prepare = prepare_path,
     .run = run_path},
    {.label = "/v1/profiles/{id}/orders",
     .allow = GETS,
     .segments = {"v1", "profiles", "*", "orders"},
     .scope = SCOPE_LOOKUP,
     .personal_id = true,
     .prepare = ask_read_as_of,
     .run = run_orders},
    {.label = "/v1/profiles/{id}/data",
     .allow = GETS,
     .segments = {"v1", "profiles", "*", "data"},
     .scope = SCOPE_PII,
     .audit = AUDIT_READ,
     .personal_id = true,
     .prepare = prepare_data,
     .run = run_data},
    {.label = "/v1/profiles/{id}/traits",
     .allow = "PUT",
     .segments = {"v1", "profiles", "*", "traits"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_IDENTITY,
     .personal_id = true,
     .prepare = prepare_traits},
    {.label = "/v1/profiles/{id}/identity",
     .allow = GETS,
     .segments = {"v1", "profiles", "*", "identity"},
     .scope = SCOPE_LOOKUP,
     .personal_id = true,
     .as_named = true,
     .run = run_identity},
    {.label = "/v1/identity:unlink",
     .allow = "POST",
     .segments = {"v1", "identity:unlink"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_IDENTITY,
     .prepare = prepare_unlink},
    {.label = "/v1/identity:preview",
     .allow = "POST",
     .segments = {"v1", "identity:preview"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_READ,
     .run = run_preview},
    {.label = "/v1/orders/{id}/scene",
     .allow = GETS,
     .segments = {"v1", "orders", "*", "scene"},
     .scope = SCOPE_LOOKUP,
     .prepare = prepare_scene,
     .run = run_scene},
    {.label = "/v1/tail",
     .allow = GETS,
     .segments = {"v1", "tail"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_READ,
     .prepare = prepare_tail,
     .run = run_tail,
     .met = met_tail},
    {.label = "/v1/backups",
     .allow = GETS ", POST",
     .segments = {"v1", "backups"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_NEVER,
     .prepare = prepare_backups},
    {.label = "/v1/profiles:tag",
     .allow = "POST",
     .segments = {"v1", "profiles:tag"},
     .scope = SCOPE_AUDIENCE | SCOPE_ADMIN,
     .audit = AUDIT_IDENTITY,
     .prepare = prepare_import_tags},
    {.label = "/v1/profiles/{id}/tags/{name}",
     .allow = "PUT, DELETE",
     .segments = {"v1", "profiles", "*", "tags", "@"},
     .scope = SCOPE_AUDIENCE | SCOPE_ADMIN,
     .audit = AUDIT_IDENTITY,
     .personal_id = true,
     .prepare = prepare_tag},
    {.label = "/v1/audiences",
     .allow = GETS,
     .segments = {"v1", "audiences"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_audiences,
     .run = run_audiences},
    {.label = "/v1/audiences:count",
     .allow = "POST",
     .segments = {"v1", "audiences:count"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_audiences,
     .run = run_count},
    {.label = "/v1/audiences/{name}",
     .allow = GETS,
     .segments = {"v1", "audiences", "@"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_named,
     .run = run_audience},
    {.label = "/v1/audiences/{name}",
     .allow = "PUT",
     .segments = {"v1", "audiences", "@"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_named,
     .run = run_put_audience},
    {.label = "/v1/audiences/{name}",
     .allow = "DELETE",
     .segments = {"v1", "audiences", "@"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_named,
     .run = run_delete_audience},
    {.label = "/v1/audiences/{name}/members",
     .allow = GETS,
     .segments = {"v1", "audiences", "@", "members"},
     .scope = SCOPE_AUDIENCE,
     .prepare = prepare_members,
     .run = run_members},
    {.label = "/v1/audiences/{name}/explain",
     .allow = GETS,
     .segments = {"v1", "audiences", "@", "explain"},
     .scope = SCOPE_AUDIENCE,
     .prepare = prepare_explain,
     .run = run_explain},
    {.label = "/v1/audiences/{name}/exports",
     .allow = "POST",
     .segments = {"v1", "audiences", "@", "exports"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_EXPORT,
     .prepare = prepare_begin_export,
     .run = run_begin_export},
    {.label = "/v1/rules:check",
     .allow = "POST",
     .segments = {"v1", "rules:check"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_audiences,
     .run = run_check_rule},
    {.label = "/v1/catalog",
     .allow = GETS,
     .segments = {"v1", "catalog"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_audiences,
     .run = run_catalog},
    {.label = "/v1/tags",
     .allow = GETS,
     .segments = {"v1", "tags"},
     .scope = SCOPE_AUDIENCE,
     .audit = AUDIT_NEVER,
     .prepare = prepare_audiences,
     .run = run_tags},
    {.label = "/v1/tags/cuts",
     .allow = "POST",
     .segments = {"v1", "tags", "cuts"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_NEVER,
     .run = run_cuts},
    {.label = "/v1/exports",
     .allow = GETS,
     .segments = {"v1", "exports"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_NEVER,
     .prepare = prepare_exports,
     .run = run_exports},
    {.label = "/v1/exports/{id}",
     .allow = GETS,
     .segments = {"v1", "exports", "@"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_NEVER,
     .prepare = prepare_exports,
     .run = run_export},
    {.label = "/v1/exports/{id}/file",
     .allow = GETS,
     .segments = {"v1", "exports", "@", "file"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_READ,
     .prepare = prepare_exports,
     .run = run_export_file},
    {.label = "/v1/internal/exports",
     .allow = GETS,
     .segments = {"v1", "internal", "exports"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_NEVER,
     .prepare = prepare_inside,
     .run = run_inside_exports},
    {.label = "/v1/internal/exports",
     .allow = "POST",
     .segments = {"v1", "internal", "exports"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_EXPORT,
     .prepare = prepare_inside,
     .run = run_inside_begin},
    {.label = "/v1/internal/exports/{id}",
     .allow = GETS,
     .segments = {"v1", "internal", "exports", "@"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_NEVER,
     .prepare = prepare_inside,
     .run = run_inside_export},
    {.label = "/v1/internal/exports/{id}/part",
     .allow = GETS,
     .segments = {"v1", "internal", "exports", "@", "part"},
     .scope = SCOPE_EXPORT,
     .audit = AUDIT_READ,
     .prepare = prepare_inside,
     .run = run_inside_part},
    {.label = "/v1/campaigns/{name}/report",
     .allow = GETS,
     .segments = {"v1", "campaigns", "@", "report"},
     .scope = SCOPE_AUDIENCE | SCOPE_EXPORT,
     .audit = AUDIT_NEVER,
     .prepare = prepare_exports,
     .run = run_campaign},
    {.label = "/v1/internal/preview/{step}",
     .allow = GETS,
     .segments = {"v1", "internal", "preview", "*"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_READ,
     .run = run_preview_step},
    {.label = "/v1/internal/erasable/{id}",
     .allow = GETS,
     .segments = {"v1", "internal", "erasable", "*"},
     .scope = SCOPE_ADMIN,
     .audit = AUDIT_NEVER,
     .personal_id = true,
     .as_named = true,
     .prepare = prepare_erasable,
     .run = run_erasable},
    {.label = "/v1/internal/settled",
     .allow = GETS,
     .segments = {"v1", "internal", "settled"},
     .scope = SCOPE_LOOKUP | SCOPE_PII | SCOPE_AUDIENCE | SCOPE_ADMIN, /* one of the routes that take `after` */
     .audit = AUDIT_NEVER,
     .prepare = prepare_settled,
     .run = run_settled},
    {.label = "/livez", .allow = GETS, .segments = {"livez"}, .prepare = prepare_live},
    {.label = "/readyz", .allow = GETS, .segments = {"readyz"}, .prepare = prepare_ready},
    {.label = "/metrics", .allow = GETS, .segments = {"metrics"}, .urgent = true, .run = run_metrics},
};

/* --- routes --------------------------------------------------------------------------------------------------- */

static bool matches(const struct route *route, const struct str *segments, int n, struct route_names *names)
{
    int i = 0;

    for (; route->segments[i]; i++) {
        if (i >= n)
            return false;
        if (route->segments[i][0] == '*')
            names->id = segments[i];
        else if (route->segments[i][0] == '@')
            names->name = segments[i];
        else if (!str_is(segments[i], route->segments[i]))
            return false;
    }
    return i == n;
}

bool api_route_takes(const struct route *route, struct str method)
{
    static const char *const changes[] = {"POST", "PUT", "DELETE"};

    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (str_is(method, changes[i]))
            return strstr(route->allow, changes[i]) != NULL;
    return route->allow[0] == 'G' && (str_is(method, "GET") || str_is(method, "HEAD"));
}

const struct route *api_route_find(struct http_request *r, struct route_names *names)
{
    struct str segments[MOST_SEGMENTS];
    int n = http_path_segments(http_path(r), http_arena(r), segments, MOST_SEGMENTS);
    const struct route *found = NULL;

    for (size_t i = 0; n > 0 && i < sizeof routes / sizeof *routes; i++) {
        struct route_names these = {STR_NONE, STR_NONE};
        if (!matches(&routes[i], segments, n, &these))
            continue;
        *names = these;
        if (api_route_takes(&routes[i], http_method(r)))
            return &routes[i];
        if (!found)
            found = &routes[i];
    }
    return found;
}

void api_refuse_method(struct http_request *r, const struct route *route)
{
    struct buf allow;

    buf_init(&allow, 256);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(routes[i].label, route->label) == 0)
            buf_addf(&allow, "%s%s", allow.n ? ", " : "", routes[i].allow);
    buf_add_char(&allow, '\0');
    request_error(r, 405, "method_not_allowed", allow.failed ? route->allow : allow.p,
                  "the route does not take this method");
    buf_deinit(&allow);
}
