/* Traits over HTTP: what of them an answer shows, and PUT, which states them. Pool threads; the answer of a PUT comes
 * on the log's thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "profiler/api_ask.h"
#include "profiler/traits_put.h"
#include "proto/codec.h"

/* --- what is shown --------------------------------------------------------------------------------------------- */

bool ask_shows_more(const struct ask *ask)
{
    return ask->show.groups != 0 || ask->show.verbose || ask->show.clear;
}

static bool bad_group(struct ask *ask)
{
    ask_error(ask, 400, "parameter_invalid",
              "include names groups of traits with commas between: demographic, platform, contact, shipping, payment, "
              "certification, other");
    return false;
}

static bool add_group(struct ask *ask, struct str name)
{
    enum trait_group group = trait_group_of(str_trim(name));

    if (group == TRAIT_GROUPS)
        return bad_group(ask);
    ask->show.groups |= 1u << group;
    return true;
}

static bool read_include(struct ask *ask, struct str text)
{
    while (text.n > 0) {
        const char *comma = memchr(text.p, ',', text.n);
        size_t n = comma ? (size_t)(comma - text.p) : text.n;
        if (!add_group(ask, (struct str){text.p, n}))
            return false;
        n += comma != NULL;
        text = (struct str){text.p + n, text.n - n};
    }
    return true;
}

static bool read_verbose(struct ask *ask, struct str text)
{
    if (!str_has(text))
        return true;
    ask->show.verbose = text.n == 0 || str_is(text, "true") || str_is(text, "1");
    if (ask->show.verbose || str_is(text, "false") || str_is(text, "0"))
        return true;
    ask_error(ask, 400, "parameter_invalid", "verbose is true or false");
    return false;
}

bool ask_read_show(struct ask *ask)
{
    ask->show = (struct traits_show){.clear = ask_sees_pii(ask)};
    return read_include(ask, http_query(ask->request, "include")) &&
           read_verbose(ask, http_query(ask->request, "verbose"));
}

/* What the body says must reach the instances that have the profiles. */
static bool write_query(struct ask *ask, unsigned include, bool verbose)
{
    struct buf b;
    bool first = true;

    buf_init(&b, 1024);
    for (unsigned g = 0; g < TRAIT_GROUPS; g++) {
        if (!(include & 1u << g))
            continue;
        buf_addf(&b, "%s%s", first ? "include=" : "%2C", trait_group_names[g]);
        first = false;
    }
    if (verbose)
        buf_addf(&b, "%sverbose=true", first ? "" : "&");
    bool any = b.n > 0;
    struct str copy = b.failed || !any ? STR_NONE : arena_dup(http_arena(ask->request), buf_str(&b));
    bool good = !b.failed && (!any || str_has(copy));
    buf_deinit(&b);
    ask->show_query = copy.p;
    if (!good)
        ask_error(ask, 503, "unavailable", "out of memory");
    return good;
}

bool ask_read_show_of(struct ask *ask, const struct json *body)
{
    const struct json *include = json_get(body, "include"), *verbose = json_get(body, "verbose");
    bool in_query = str_has(http_query(ask->request, "include"));

    if (include && !in_query) {
        if (include->type != JSON_ARRAY && include->type != JSON_STRING)
            return bad_group(ask);
        if (include->type == JSON_STRING && !read_include(ask, include->text))
            return false;
        for (const struct json *g = include->type == JSON_ARRAY ? include->child : NULL; g; g = g->next)
            if (g->type != JSON_STRING ? !bad_group(ask) : !add_group(ask, g->text))
                return false;
    }
    if (verbose && !str_has(http_query(ask->request, "verbose")) && !read_verbose(ask, verbose->raw))
        return false;
    return write_query(ask, in_query ? 0 : ask->show.groups,
                       ask->show.verbose && !str_has(http_query(ask->request, "verbose")));
}

/* --- PUT ------------------------------------------------------------------------------------------------------- */

/* A PUT on its way to the log; in the request's arena. */
struct put {
    struct ask *ask;
    char position[48];
    struct http_field fields[1];
};

static void answer_appended(struct put *p, uint32_t partition, int64_t offset)
{
    struct buf body;

    snprintf(p->position, sizeof p->position, "%u:%lld", partition, (long long)offset);
    p->fields[0] = (struct http_field){"X-Waymark-Position", p->position};
    buf_init(&body, 4 * KIB);
    buf_add_char(&body, '{');
    json_write_member(&body, "id", p->ask->id);
    json_write_member(&body, "position", str_of(p->position));
    buf_add_char(&body, '}');
    ask_send(p->ask, &(struct http_answer){.status = 200, .fields = p->fields, .field_count = 1, .body_buf = &body});
    buf_deinit(&body);
}

/* On the log's thread. */
static void appended(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct put *p = arg;

    if (status == LOG_OK)
        answer_appended(p, partition, offset);
    else
        ask_error(p->ask, 503, "unavailable", "it may not be on the log: %s", log_status_text(status));
}

static void append(struct ask *ask, const struct traits_put *put)
{
    struct put *p = arena_zalloc(http_arena(ask->request), sizeof *p);
    const struct event e = put->event;
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    if (!p || !event_pack(&e, &b)) {
        ask_error(ask, p ? 413 : 503, p ? "body_too_large" : "unavailable", p ? "it is too large" : "out of memory");
    } else if (ask_may_change(ask)) {
        p->ask = ask;
        const struct log_record record = {.kind = LOG_KIND_EVENT, .key = event_log_key(&e), .value = buf_str(&b)};
        void *args[] = {p};
        enum log_status status =
            event_log_append(ask->api->o.log, LOG_EVENTS, LOG_BY_COMMAND, &record, 1, appended, args);
        if (status != LOG_OK)
            ask_error(ask, 503, "unavailable", "the log does not take it: %s", log_status_text(status));
    }
    buf_deinit(&b);
}

bool prepare_traits(struct ask *ask)
{
    const struct fold_rules *rules = ask->api->o.rules;
    size_t n;
    char *body = http_body(ask->request, &n);
    struct traits_put put = {.id = ask->id,
                             .message_id = http_header(ask->request, "Idempotency-Key"),
                             .received = http_received_at(ask->request),
                             .blocked = ask->api->o.conf->blocked};
    struct buf why;

    buf_init(&why, 64 * KIB);
    int r = traits_put_read(&put, body, n, rules->traits, http_arena(ask->request), &why);
    if (r == 0)
        append(ask, &put);
    else if (r == -ENOMEM)
        ask_error(ask, 503, "unavailable", "out of memory");
    else if (r == TRAITS_PUT_NO_KEYS)
        ask_error(ask, 503, "unavailable", "there are no keys to seal personal values with: waymark keys init");
    else
        ask_error(ask, 400, put.code, "%.*s", STR_ARG(buf_str(&why)));
    buf_deinit(&why);
    return false;
}
