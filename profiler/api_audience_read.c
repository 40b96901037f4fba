/* Reading what requests say of rules and audiences. Pool and look-up threads. */
#include <errno.h>

#include "common/clock.h"
#include "profiler/api_audience.h"

bool audience_name_good(struct str name)
{
    if (name.n == 0 || name.n > DEFINITION_NAME_BYTES)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-')
            return false;
    }
    return true;
}

bool ask_has_audiences(struct ask *ask)
{
    if (ask->api->o.audiences)
        return true;
    ask_error(ask, 503, "unavailable", "no audiences are kept here");
    return false;
}

bool prepare_named(struct ask *ask)
{
    if (!ask_has_audiences(ask))
        return false;
    if (audience_name_good(ask->name))
        return true;
    ask_error(ask, 400, "parameter_invalid", "a name has 1 to %d letters, digits, _ . and -", DEFINITION_NAME_BYTES);
    return false;
}

/* --- bodies --------------------------------------------------------------------------------------------------- */

static bool is_known(const char *const *known, struct str name)
{
    for (; *known; known++)
        if (str_is(name, *known))
            return true;
    return false;
}

/* A misspelt member would mean something else than was meant. */
static bool check_members(struct ask *ask, const struct json *root, const char *const *known)
{
    for (const struct json *m = root->child; m; m = m->next) {
        if (is_known(known, m->key))
            continue;
        ask_error(ask, 400, "parameter_invalid", "the body has no member %.*s", (int)(m->key.n < 64 ? m->key.n : 64),
                  m->key.p);
        return false;
    }
    return true;
}

const struct json *ask_read_object(struct ask *ask, struct json_parser *parser, const char *const *known)
{
    const struct json *root = NULL;
    struct err e = {0};
    size_t n;
    char *bytes = http_body(ask->request, &n);
    int r = parser ? json_parse(parser, bytes, n, &root, &e) : -ENOMEM;

    if (r < 0)
        ask_error(ask, 503, "unavailable", "out of memory");
    else if (r != JSON_OK)
        ask_error(ask, 400, "json_invalid", "%s", e.text);
    else if (root->type != JSON_OBJECT)
        ask_error(ask, 400, "json_invalid", "the body is an object");
    else if (check_members(ask, root, known))
        return root;
    return NULL;
}

bool ask_read_text(struct ask *ask, const struct json *object, const char *name, struct str *out)
{
    const struct json *v = json_get(object, name);

    *out = STR_NONE;
    if (!v || v->type == JSON_NULL)
        return true;
    if (v->type != JSON_STRING) {
        ask_error(ask, 400, "parameter_invalid", "%s: needs a text", name);
        return false;
    }
    *out = arena_dup(http_arena(ask->request), v->text);
    if (str_has(*out))
        return true;
    ask_error(ask, 503, "unavailable", "out of memory");
    return false;
}

/* --- rules ---------------------------------------------------------------------------------------------------- */

void ask_rule_error(struct ask *ask, const struct rule_error *e)
{
    struct buf b;

    buf_init(&b, 16 * KIB);
    buf_add_char(&b, '{');
    json_write_member(&b, "code", STR_LIT("rule_invalid"));
    json_write_member(&b, "message", str_of(e->message));
    buf_addf(&b, ",\"line\":%u,\"column\":%u", e->line, e->column);
    if (e->suggestion[0])
        json_write_member(&b, "suggestion", str_of(e->suggestion));
    buf_add_char(&b, '}');
    ask_answer_status(ask, 400, &b);
    buf_deinit(&b);
}

bool ask_compile(struct ask *ask, struct str text, struct rule **out)
{
    struct rule_error why = {0};
    struct audience_names names;

    audiences_names(ask->api->o.audiences, &names);
    int r = rule_compile(text, RULE_BOOL, &names.names, out, &why);
    audiences_names_done(&names);
    if (r == -EINVAL) {
        ask_rule_error(ask, &why);
        return false;
    }
    if (r != 0) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    if (!rule_personal(*out) || ask_sees_pii(ask))
        return true;
    rule_free(*out);
    *out = NULL;
    ask_error(ask, 403, "scope_missing", "a rule that names personal traits needs the scope pii");
    return false;
}

/* --- what is judged ------------------------------------------------------------------------------------------- */

static bool is_judged(const struct lookup_job *job)
{
    const struct ask *ask = (const struct ask *)job;

    return audiences_settled(ask->api->o.audiences, ask->judged_by);
}

bool ask_is_judged(struct ask *ask)
{
    bool asked = ask->after_count > 0 || (ask->forwarded && str_has(http_query(ask->request, "judged")));

    ask->judged_by = audiences_moment(ask->api->o.audiences);
    if (!asked || ask->judged || audiences_settled(ask->api->o.audiences, ask->judged_by))
        return true;
    ask->judged = true;
    ask->job = (struct lookup_job){
        .run = ask_run_job, .met = is_judged, .deadline = ask->arrived + ask->wait_ms, .poll = true};
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        ask_error(ask, 503, "unavailable", "too many requests are waiting");
    return false;
}

bool ask_scan(struct ask *ask, struct lookup_job *job)
{
    uint64_t queued, waiting;

    lookups_figures(ask->api->scans, &queued, &waiting);
    return queued < SCANS_WAITING && lookups_submit(ask->api->scans, job);
}
