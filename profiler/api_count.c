/* POST /v1/audiences:count: how many a rule means, how many of them can be reached, and how many each of its parts
 * means. From bitmaps where the rule allows, else in one walk through everybody, which has a thread of its own. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/num.h"
#include "profiler/api_audience.h"
#include "profiler/render.h"
#include "profiler/rule_eval.h"

#define CLAUSES 32
#define COUNT_MS 120000 /* longer no walk goes on */
#define JUDGED_MS 10000 /* whoever has changed is waited for */

enum { WHOLE, EMAIL, PHONE, FIRST_CLAUSE, MOST_RULES = FIRST_CLAUSE + CLAUSES };

struct counting {
    struct lookup_job job; /* first */
    struct ask *ask;
    struct str text;
    int64_t began, end;
    size_t clauses;
    struct rule *rules[MOST_RULES]; /* the whole, ways to reach somebody, and its parts */
    struct str texts[MOST_RULES];   /* of the parts */
    uint64_t counts[MOST_RULES];
    bool counted[MOST_RULES]; /* by bitmaps */
    bool behind;
    bool single; /* the only part is the whole */
};

static void counting_free(struct counting *c)
{
    for (size_t i = 0; i < MOST_RULES; i++)
        rule_free(c->rules[i]);
    free(c);
}

/* --- the question --------------------------------------------------------------------------------------------- */

/* A name is one's of our own: nothing in it needs an escape. */
static struct str rule_of(struct ask *ask, struct str audience, struct str rule)
{
    struct str text = STR_NONE;
    struct buf b;

    buf_init(&b, 64 * KIB);
    if (str_has(audience))
        buf_addf(&b, "in_audience(\"%.*s\")%s", STR_ARG(audience), str_has(rule) ? " && (" : "");
    if (str_has(rule))
        buf_add_str(&b, rule);
    if (str_has(audience) && str_has(rule))
        buf_add_text(&b, "\n)");
    if (!b.failed)
        text = arena_dup(http_arena(ask->request), buf_str(&b));
    buf_deinit(&b);
    return text;
}

static bool read_as_of(struct ask *ask, const struct json *root)
{
    struct str text;

    ask->as_of = TIME_NONE;
    if (!ask_read_text(ask, root, "as_of", &text))
        return false;
    if (!str_has(text) || time_parse(text, &ask->as_of) == 0)
        return true;
    ask_error(ask, 400, "parameter_invalid", "as_of is no time: it looks like 2026-01-31T23:59:59Z");
    return false;
}

static bool check_audience(struct ask *ask, struct str name)
{
    struct audience_info info;
    struct arena arena;
    int r;

    if (!str_has(name))
        return true;
    if (!audience_name_good(name)) {
        ask_error(ask, 400, "parameter_invalid", "audience: is no name of an audience");
        return false;
    }
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    r = audiences_get(ask->api->o.audiences, name, &arena, &info);
    arena_deinit(&arena);
    if (r != 0)
        ask_error(ask, 404, "audience_not_found", "there is no audience of this name");
    return r == 0;
}

/* The text that is counted; absent when it is answered. */
static struct str read_question(struct ask *ask)
{
    static const char *const members[] = {"rule", "as_of", "audience", NULL};
    struct json_parser *parser = json_parser_new();
    struct str rule = STR_NONE, audience = STR_NONE, text = STR_NONE;
    struct rule *alone = NULL;

    const struct json *root = ask_read_object(ask, parser, members);
    bool good = root && ask_read_text(ask, root, "rule", &rule) && ask_read_text(ask, root, "audience", &audience) &&
                read_as_of(ask, root) && check_audience(ask, audience);
    json_parser_free(parser);
    if (good && !str_has(rule) && !str_has(audience)) {
        ask_error(ask, 400, "parameter_invalid", "the body is {\"rule\":\"…\"} or {\"audience\":\"…\"}");
        good = false;
    }
    if (good && str_has(rule))
        good = ask_compile(ask, rule, &alone); /* what is wrong stands where it was written */
    rule_free(alone);
    if (good && !str_has(text = rule_of(ask, audience, rule)))
        ask_error(ask, 503, "unavailable", "out of memory");
    return text;
}

/* The whole and each part. A part that does not compile by itself is none. False: the whole does not, or memory is out.
 */
static bool compile(struct counting *c)
{
    static const char *const reach[] = {"has(traits.email)", "has(traits.phone)"};
    struct ask *ask = c->ask;
    struct str parts[CLAUSES];
    struct rule_error why;
    struct audience_names names;

    if (!ask_compile(ask, c->text, &c->rules[WHOLE]))
        return false;
    audiences_names(ask->api->o.audiences, &names);
    for (size_t i = 0; i < 2; i++)
        rule_compile(str_of(reach[i]), RULE_BOOL, &names.names, &c->rules[EMAIL + i], &why);
    size_t n = rule_clauses(c->rules[WHOLE], parts, CLAUSES);
    c->single = n == 1;
    for (size_t i = 0; i < n; i++)
        if (rule_compile(parts[i], RULE_BOOL, &names.names, &c->rules[FIRST_CLAUSE + c->clauses], &why) == 0)
            c->texts[FIRST_CLAUSE + c->clauses++] = parts[i];
    audiences_names_done(&names);
    return true;
}

/* --- counting ------------------------------------------------------------------------------------------------- */

static int is_true(const struct rule *rule, struct rule_subject *s, bool *out)
{
    struct rule_result result;
    int r = rule_eval(rule, s, &result);

    *out = r == 0 && result.value.type == RULE_BOOL && result.value.truth;
    return r;
}

static int count_one(struct counting *c, size_t i, struct rule_subject *s, bool *is)
{
    int r = 0;

    *is = false;
    if (c->rules[i])
        r = is_true(c->rules[i], s, is);
    c->counts[i] += *is;
    return r;
}

static int count_reach(struct counting *c, struct rule_subject *s)
{
    bool is;
    int r = count_one(c, EMAIL, s, &is);

    return r == 0 ? count_one(c, PHONE, s, &is) : r;
}

/* Everybody once; what bitmaps did not tell, with sub-expressions from the same events. */
static int visit(void *arg, struct str id, struct rule_subject *s)
{
    struct counting *c = arg;
    bool is = false;
    int r = c->counted[WHOLE] ? 0 : count_one(c, WHOLE, s, &is);

    (void)id;
    if (r == 0 && is)
        r = count_reach(c, s);
    for (size_t i = FIRST_CLAUSE; r == 0 && i < FIRST_CLAUSE + c->clauses; i++)
        r = c->counted[i] ? 0 : count_one(c, i, s, &is);
    return r == 0 && clock_monotonic() > c->end ? -ETIME : r;
}

/* Of those who are meant, by bitmaps: each is looked at for how to reach them. */
static int visit_member(void *arg, struct str id, struct rule_subject *s)
{
    struct counting *c = arg;
    int r = count_reach(c, s);

    (void)id;
    return r == 0 && clock_monotonic() > c->end ? -ETIME : r;
}

static void count_bitmaps(struct counting *c)
{
    const struct rule *rules[1 + CLAUSES] = {c->rules[WHOLE]};
    struct audience_bits bits[1 + CLAUSES];

    for (size_t i = 0; i < c->clauses; i++)
        rules[1 + i] = c->rules[FIRST_CLAUSE + i];
    audiences_count_bits(c->ask->api->o.audiences, rules, 1 + c->clauses, bits);
    for (size_t i = 0; i <= c->clauses; i++) {
        size_t at = i == 0 ? WHOLE : FIRST_CLAUSE + i - 1;

        c->counted[at] = bits[i].known;
        c->counts[at] = bits[i].known ? bits[i].count : 0;
    }
    c->counted[EMAIL] = c->counted[PHONE] = bits[0].known && bits[0].reach_known;
    if (c->counted[EMAIL]) {
        c->counts[EMAIL] = bits[0].reach[REACH_EMAIL];
        c->counts[PHONE] = bits[0].reach[REACH_PHONE];
    }
}

/* What bitmaps did not tell. */
static int walk(struct counting *c, struct err *e)
{
    struct ask *ask = c->ask;
    struct audiences *a = ask->api->o.audiences;
    const _Atomic bool *stop = &ask->api->stopping;
    unsigned needs = RULE_NEEDS_TRAITS;
    struct audience_count members;
    bool any = false;
    int r = 0;

    if (c->counted[WHOLE] && !c->counted[EMAIL])
        r = audiences_count(a, c->rules[WHOLE], TIME_NONE, visit_member, c, stop, &members, e);
    for (size_t i = 0; i < FIRST_CLAUSE + c->clauses; i++)
        if (!c->counted[i] && i != EMAIL && i != PHONE) {
            any = true;
            needs |= rule_needs(c->rules[i]);
        }
    return r == 0 && any ? audiences_scan(a, needs, ask->as_of, visit, c, stop, e) : r;
}

static int count(struct counting *c, struct err *e)
{
    c->behind = !audiences_await(c->ask->api->o.audiences, JUDGED_MS, &c->ask->api->stopping);
    if (c->ask->as_of == TIME_NONE)
        count_bitmaps(c);
    c->counted[FIRST_CLAUSE] = c->counted[FIRST_CLAUSE] || c->single;
    int r = walk(c, e);
    if (c->single)
        c->counts[FIRST_CLAUSE] = c->counts[WHOLE];
    return r;
}

/* --- the answer ----------------------------------------------------------------------------------------------- */

/* Somebody who changed before the question was not judged by then. */
static const char behind[] = "\"behind\":true,";

static void write_here(const struct counting *c, const bool *here, struct buf *b)
{
    partitions_write(c->ask, here, b);
    buf_addf(b, ",\"count\":%" PRIu64 ",\"method\":\"%s\",%s\"took_ms\":%" PRId64, c->counts[WHOLE],
             c->counted[WHOLE] ? "bitmap" : "scan", c->behind ? behind : "", clock_monotonic() - c->began);
    buf_addf(b, ",\"reachable\":{\"email\":%" PRIu64 ",\"phone\":%" PRIu64 "},\"clauses\":[", c->counts[EMAIL],
             c->counts[PHONE]);
    for (size_t i = 0; i < c->clauses; i++) {
        buf_add_text(b, i ? ",{" : "{");
        json_write_member(b, "expression", c->texts[FIRST_CLAUSE + i]);
        buf_addf(b, ",\"count\":%" PRIu64 "}", c->counts[FIRST_CLAUSE + i]);
    }
    buf_add_text(b, "]}");
}

static uint64_t number_of(const struct json *o, const char *name)
{
    const struct json *v = json_get(o, name);
    uint64_t n = 0;

    return v && v->type == JSON_NUMBER && num_u64(v->text, &n) == NUM_OK ? n : 0;
}

static uint64_t sum(const struct json *const *answers, size_t n, const char *name)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += number_of(answers[i], name);
    return all;
}

static uint64_t sum_reach(const struct json *const *answers, size_t n, const char *name)
{
    uint64_t all = 0;

    for (size_t i = 0; i < n; i++)
        all += number_of(json_get(answers[i], "reachable"), name);
    return all;
}

static const struct json *clause_at(const struct json *answer, size_t i)
{
    const struct json *list = json_get(answer, "clauses"), *c = list && list->type == JSON_ARRAY ? list->child : NULL;

    while (c && i-- > 0)
        c = c->next;
    return c;
}

/* In all answers they are those of the same rule. */
static void join_clauses(const struct json *const *answers, size_t n, struct buf *b)
{
    for (size_t i = 0; clause_at(answers[0], i); i++) {
        const struct json *text = json_get(clause_at(answers[0], i), "expression");
        uint64_t all = 0;

        for (size_t k = 0; k < n; k++)
            all += number_of(clause_at(answers[k], i), "count");
        buf_add_text(b, i ? ",{" : "{");
        json_write_member(b, "expression", text ? text->text : STR_LIT(""));
        buf_addf(b, ",\"count\":%" PRIu64 "}", all);
    }
}

static void join(struct ask *ask, const struct json *const *answers, size_t n)
{
    bool bitmaps = true, late = false;
    uint64_t took = 0;
    struct buf b;

    for (size_t i = 0; i < n; i++) {
        const struct json *method = json_get(answers[i], "method");
        bitmaps = bitmaps && method && str_is(method->text, "bitmap");
        late = late || json_get(answers[i], "behind");
        took = number_of(answers[i], "took_ms") > took ? number_of(answers[i], "took_ms") : took;
    }
    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_addf(&b, "{\"count\":%" PRIu64 ",\"method\":\"%s\",%s\"took_ms\":%" PRIu64, sum(answers, n, "count"),
             bitmaps ? "bitmap" : "scan", late ? behind : "", took);
    buf_addf(&b, ",\"reachable\":{\"email\":%" PRIu64 ",\"phone\":%" PRIu64 "},\"clauses\":[",
             sum_reach(answers, n, "email"), sum_reach(answers, n, "phone"));
    join_clauses(answers, n, &b);
    buf_add_text(&b, "]}");
    ask_answer(ask, &b);
    buf_deinit(&b);
}

static void answer(struct counting *c, const bool *here)
{
    struct ask *ask = c->ask;
    struct str body = STR_NONE;
    struct buf b, again;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_init(&again, 256 * KIB);
    write_here(c, here, &b);
    buf_add_char(&again, '{');
    json_write_member(&again, "rule", c->text);
    if (ask->as_of != TIME_NONE)
        render_time_member(&again, "as_of", ask->as_of);
    buf_add_char(&again, '}');
    if (!again.failed)
        body = arena_dup(http_arena(ask->request), buf_str(&again));
    counting_free(c);
    if (str_has(body))
        ask_gather(ask, &b, body, COUNT_MS, join);
    else
        ask_error(ask, 503, "unavailable", "out of memory");
    buf_deinit(&again);
    buf_deinit(&b);
}

/* The thread of the scans. */
static void run(struct lookup_job *job, bool in_time)
{
    struct counting *c = (struct counting *)job;
    struct ask *ask = c->ask;
    struct err e = {0};
    const bool *here = partitions_here(ask);
    int r = here && in_time ? count(c, &e) : -ECANCELED;

    if (here && r == 0 && partitions_same(ask, here)) {
        answer(c, here);
        return;
    }
    counting_free(c);
    if (!here || r == 0)
        return; /* it is answered */
    if (r == -EAGAIN)
        ask_error(ask, 503, "not_yet", "not everybody is known yet");
    else if (r == -ECANCELED)
        ask_error(ask, 503, "unavailable", "the program ends");
    else if (r == -ETIME)
        ask_error(ask, 503, "unavailable", "it took over %d s", COUNT_MS / 1000);
    else
        ask_error(ask, 503, "unavailable", "the people cannot be counted now: %s", e.text);
}

void run_count(struct ask *ask)
{
    struct counting *c;
    struct str text;

    if (!ask_is_judged(ask))
        return;
    text = read_question(ask);
    if (!str_has(text))
        return;
    c = calloc(1, sizeof *c);
    if (!c) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    c->ask = ask;
    c->text = text;
    c->began = clock_monotonic();
    c->end = c->began + COUNT_MS;
    c->job = (struct lookup_job){.run = run};
    if (!compile(c)) {
        counting_free(c);
    } else if (!ask_scan(ask, &c->job)) {
        counting_free(c);
        ask_error(ask, 503, "unavailable", "too many counts are waiting");
    }
}
