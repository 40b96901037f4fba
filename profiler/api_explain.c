/* GET /v1/audiences/{name}/explain?id=: what each part of the rule is for one person. The owner of the person answers;
 * of a linked device it is the user who is meant. Look-up threads. */
#include <errno.h>

#include "profiler/api_audience.h"
#include "profiler/render.h"
#include "profiler/rule_eval.h"

/* --- whom ----------------------------------------------------------------------------------------------------- */

bool prepare_explain(struct ask *ask)
{
    if (!prepare_named(ask) || !ask_read_as_of(ask))
        return false;
    ask->person = http_query(ask->request, "id");
    if (ask->forwarded && str_has(http_query(ask->request, "person")))
        ask->person = http_query(ask->request, "person");
    if (id_valid(ask->person))
        return true;
    ask_error(ask, 400, "id_invalid", "id is user:… or anon:… with 1 to %d bytes behind the colon", LIMIT_ID_BYTES);
    return false;
}

/* On the forwarder's thread. */
static void owner_answered(struct peer_call *c)
{
    struct ask *ask = c->ask;
    struct str user;

    if (c->call.status == 421 && linked_read(ask->person, &c->call.body, http_arena(ask->request), &user)) {
        buf_deinit(&c->call.body);
        ask->person = user;
        ask_go_on(ask);
        return;
    }
    if (c->call.status != 0 && c->call.status != 421) {
        ask_pass_on(ask, c);
        return;
    }
    buf_deinit(&c->call.body);
    ask_error(ask, 503, "unavailable", "the instance that has %.*s did not answer",
              (int)(ask->person.n < 64 ? ask->person.n : 64), ask->person.p);
}

static void ask_owner(struct ask *ask, uint32_t partition)
{
    char base[PEER_URL];
    struct buf more;

    buf_init(&more, 4 * KIB);
    buf_add_text(&more, ask->after_count > 0 ? "judged=true&person=" : "person=");
    http_encode_segment(&more, ask->person);
    buf_add_char(&more, '\0');
    if (!peer_of(ask, partition, base, sizeof base))
        ask_error(ask, 503, "not_yet", "nobody is known to have partition %u", partition);
    else if (more.failed || !peer_ask(ask, &ask->peer, base, http_path(ask->request), more.p, owner_answered))
        ask_error(ask, 503, "unavailable", "too many requests are with other instances");
    buf_deinit(&more);
}

static void answer_linked(struct ask *ask, struct str user)
{
    struct buf b;

    buf_init(&b, 4 * KIB);
    buf_add_text(&b, "{\"code\":\"linked\"");
    json_write_member(&b, "id", user);
    buf_add_char(&b, '}');
    ask_answer_status(ask, 421, &b);
    buf_deinit(&b);
}

/* --- why ------------------------------------------------------------------------------------------------------ */

struct explaining {
    struct ask *ask;
    const struct rule *rule;
    struct buf *b;
};

static int explain(void *arg, struct rule_subject *s)
{
    struct explaining *x = arg;
    struct rule_result result;
    int r = rule_eval(x->rule, s, &result);

    if (r != 0)
        return r;
    bool member = result.value.type == RULE_BOOL && result.value.truth;
    buf_add_char(x->b, '{');
    json_write_member(x->b, "id", x->ask->person);
    buf_addf(x->b, ",\"member\":%s", member ? "true" : "false");
    json_write_key(x->b, "next_change_at");
    render_time(x->b, result.next_change);
    json_write_key(x->b, "because");
    r = rule_explain(x->rule, s, ask_sees_pii(x->ask), x->b);
    buf_add_char(x->b, '}');
    return r;
}

static void answer(struct ask *ask, int r, struct buf *b, const struct err *e)
{
    if (r == 0)
        ask_answer(ask, b);
    else if (r == STATE_NOT_FOUND || r == STATE_LINKED)
        ask_error(ask, 404, "profile_not_found", "nothing is known of this id");
    else if (r == -EAGAIN || r == -ENOTCONN)
        ask_error(ask, 503, "not_yet", "what was asked for is changing");
    else
        ask_broken(ask, r, e);
}

static void explain_here(struct ask *ask, uint32_t partition)
{
    struct audience_rule *ref;
    const struct rule *rule = audience_rule_get(ask->api->o.audiences, ask->name, &ref);
    struct err e = {0};
    struct buf b;

    if (!rule) {
        ask_error(ask, 404, "audience_not_found", "there is no audience of this name");
        return;
    }
    buf_init(&b, LIMIT_ANSWER_BYTES);
    struct explaining x = {.ask = ask, .rule = rule, .b = &b};
    int r =
        audiences_subject(ask->api->o.audiences, partition, ask->person, rule_needs(rule), ask->as_of, explain, &x, &e);
    audience_rule_release(ref);
    answer(ask, r, &b, &e);
    buf_deinit(&b);
}

/* The user in the place of a linked device: 0, 1 when it is answered. */
static int resolve(struct ask *ask, uint32_t *partition)
{
    struct err e = {0};
    struct str user;

    if (!id_is_device(ask->person))
        return 0;
    int r = state_linked(ask->api->o.state, *partition, ask->person, http_arena(ask->request), &user, &e);
    if (r == STATE_NOT_FOUND)
        return 0;
    if (r != 0) {
        answer(ask, r, NULL, &e);
        return 1;
    }
    uint32_t home = id_partition(user, ask->api->o.conf->partitions);
    if (ask->forwarded && api_owns(ask->api, home) == OWNERSHIP_ELSEWHERE) {
        answer_linked(ask, user);
        return 1;
    }
    ask_audit_target(ask, ask->person);
    ask->person = user;
    *partition = home;
    return 0;
}

/* Whether the partition is here; else it is answered, or on its way elsewhere. */
static bool is_here(struct ask *ask, uint32_t partition)
{
    if (api_owns(ask->api, partition) != OWNERSHIP_ELSEWHERE || ask->forwarded)
        return ask_may_show(ask, partition);
    ask_owner(ask, partition);
    return false;
}

void run_explain(struct ask *ask)
{
    uint32_t partition = id_partition(ask->person, ask->api->o.conf->partitions);

    if (!ask_is_judged(ask) || !is_here(ask, partition) || resolve(ask, &partition) != 0 || !is_here(ask, partition))
        return;
    ask_audit_target(ask, ask->person);
    explain_here(ask, partition);
}
