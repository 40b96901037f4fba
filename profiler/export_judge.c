/* Whether somebody of the audience is in the file. Consent comes first; the draws come last, so that the control group
 * and those held out are people who would have been exported. Pure but for keys; the export's thread. */
#include "profiler/export_judge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/marks.h"

#define PERCENT 10000 /* millionths */

int export_judge_init(struct export_judge *j, const struct export_order *o)
{
    const struct export_request *r = o->request;

    *j = (struct export_judge){.o = o};
    arena_init(&j->arena, LIMIT_EXPORT_ARENA);
    buf_init(&j->line, LIMIT_EXPORT_ARENA);
    buf_init(&j->value, LIMIT_EXPORT_ARENA);
    j->parser = json_parser_new();
    j->names = calloc(r->column_count + 1, sizeof *j->names);
    j->traits = calloc(r->column_count + 1, sizeof *j->traits);
    j->cells = calloc(r->column_count + 1, sizeof *j->cells);
    if (!j->parser || !j->names || !j->traits || !j->cells)
        return -ENOMEM;
    j->wants_person =
        export_is_network(r) || r->listed_count > 0 || (r->channel != CHANNEL_NONE && r->channel != CHANNEL_ADS);
    for (size_t i = 0; i < r->column_count; i++) {
        const struct export_column *c = &r->columns[i];

        j->wants_person |= c->kind == COLUMN_EMAIL || c->kind == COLUMN_PHONE;
        if (c->kind == COLUMN_TRAIT)
            j->names[j->trait_count++] = c->name;
    }
    return 0;
}

void export_judge_deinit(struct export_judge *j)
{
    json_parser_free(j->parser);
    free(j->names);
    free(j->traits);
    free(j->cells);
    buf_deinit(&j->line);
    buf_deinit(&j->value);
    arena_deinit(&j->arena);
}

/* --- cells ----------------------------------------------------------------------------------------------------- */

static struct str json_of(struct export_judge *j, struct str text)
{
    if (!str_has(text))
        return STR_NONE;
    buf_reset(&j->value);
    json_write_str(&j->value, text);
    return arena_dup(&j->arena, buf_str(&j->value));
}

static struct str value_of(struct export_judge *j, const struct rule_value *v)
{
    buf_reset(&j->value);
    rule_value_write(v, &j->value);
    return str_is(buf_str(&j->value), "null") ? STR_NONE : arena_dup(&j->arena, buf_str(&j->value));
}

static struct str consent_of(const struct traits *t, struct str purpose)
{
    switch (traits_consent_of(t, purpose)) {
    case CONSENT_GRANTED:
        return STR_LIT("true");
    case CONSENT_REFUSED:
        return STR_LIT("false");
    default:
        return STR_NONE;
    }
}

static int cell_of(struct export_judge *j, const struct export_column *c, struct str id, struct rule_subject *s,
                   struct str *out)
{
    struct rule_value tag;
    struct rule_result result;
    int rc = 0;

    *out = STR_NONE;
    switch (c->kind) {
    case COLUMN_ID:
        *out = json_of(j, id);
        break;
    case COLUMN_EMAIL:
        *out = json_of(j, j->person.email_count ? j->person.emails[0] : STR_NONE);
        break;
    case COLUMN_PHONE:
        *out = json_of(j, j->person.phone_count ? j->person.phones[0] : STR_NONE);
        break;
    case COLUMN_CONSENT:
        *out = consent_of(s->traits, c->name);
        break;
    case COLUMN_TAG:
        if (s->tag && s->tag(s->tag_arg, c->name, &tag))
            *out = value_of(j, &tag);
        break;
    case COLUMN_RULE:
        rc = rule_eval(c->rule, s, &result);
        if (rc == 0)
            *out = value_of(j, &result.value);
        break;
    case COLUMN_TRAIT: /* all at once */
        break;
    }
    return rc;
}

static int read_cells(struct export_judge *j, struct str id, struct rule_subject *s)
{
    const struct export_request *r = j->o->request;
    size_t next = 0;
    int rc = 0;

    if (j->trait_count > 0)
        rc = traits_values(s->traits, j->o->rules->traits, j->names, j->trait_count, &j->arena, j->traits);
    for (size_t i = 0; i < r->column_count && rc == 0; i++) {
        if (r->columns[i].kind == COLUMN_TRAIT)
            j->cells[i] = j->traits[next++];
        else
            rc = cell_of(j, &r->columns[i], id, s, &j->cells[i]);
    }
    return rc < 0 ? rc : j->value.failed ? -ENOMEM : 0;
}

/* --- the line -------------------------------------------------------------------------------------------------- */

/* What was spent, never below 0: what networks take for a value. */
static struct str spent_of(struct export_judge *j, const struct facts *f)
{
    money spent = f ? f->gross - f->refunded : 0;

    buf_reset(&j->value);
    num_write_micros(&j->value, spent < 0 ? 0 : spent);
    return arena_dup(&j->arena, buf_str(&j->value));
}

static bool has_identifier(const struct export_judge *j)
{
    const struct export_request *r = j->o->request;

    if (export_is_network(r))
        return j->found != 0;
    switch (r->channel) {
    case CHANNEL_EMAIL:
        return j->person.email_count > 0;
    case CHANNEL_SMS:
    case CHANNEL_CALL:
        return j->person.phone_count > 0;
    default:
        return true;
    }
}

static int write_line(struct export_judge *j, struct str id, struct rule_subject *s)
{
    const struct export_request *r = j->o->request;
    int rc = 0;

    buf_reset(&j->line);
    j->found = (j->person.email_count ? 1u << BY_EMAIL : 0) | (j->person.phone_count ? 1u << BY_PHONE : 0);
    if (!export_is_network(r))
        rc = read_cells(j, id, s);
    if (rc < 0)
        return rc;
    if (r->kind == EXPORT_GOOGLE)
        export_line_google(&j->person, r, &j->arena, &j->line, &j->found);
    else if (r->kind == EXPORT_META)
        export_line_meta(&j->person, r, r->value ? spent_of(j, s->facts) : STR_NONE, &j->arena, &j->line, &j->found);
    else if (r->kind == EXPORT_CSV)
        export_line_csv(r, j->cells, j->parser, &j->arena, &j->line);
    else
        export_line_ndjson(r, j->cells, &j->line);
    return j->line.failed ? -ENOMEM : 0;
}

/* --- who is left out ------------------------------------------------------------------------------------------- */

static bool is_suppressed(struct export_judge *j, struct str id, struct rule_subject *s)
{
    const struct export_request *r = j->o->request;
    const struct export_person *p = &j->person;
    bool is = export_request_lists(r, id);

    for (size_t i = 0; i < r->suppress_count && !is; i++)
        is = s->in_audience && s->in_audience(s->arg, r->suppress[i]);
    for (size_t i = 0; i < p->email_count && !is; i++)
        is = export_request_lists(r, p->emails[i]);
    for (size_t i = 0; i < p->phone_count && !is; i++)
        is = export_request_lists(r, p->phones[i]);
    return is;
}

static bool says(const struct mark *m, const char *member, const char *value)
{
    char want[64];
    int n = snprintf(want, sizeof want, "\"%s\":\"%s\"", member, value);

    return m->value.n && memmem(m->value.p, m->value.n, want, (size_t)n);
}

/* Campaigns of the channel that took them lately: a number for *out. */
static int count_lately(struct export_judge *j, struct rule_subject *s, unsigned *out)
{
    const struct export_request *r = j->o->request;
    int64_t since = j->o->now - (int64_t)r->cap_days * TIME_DAY;
    struct mark *marks;
    size_t n;

    *out = 0;
    if (!marks_all(s->traits, MARK_CAMPAIGN, &j->arena, &marks, &n))
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        *out += marks[i].time > since && !str_eq(marks[i].name, r->campaign) && says(&marks[i], "arm", "exported") &&
                says(&marks[i], "channel", export_channel_names[r->channel]);
    return 0;
}

/* Once they are in an arm they stay there, whatever share is held out later. */
static int draw(struct export_judge *j, struct str id, struct rule_subject *s)
{
    const struct export_request *r = j->o->request;
    struct mark mark;

    if (str_has(r->campaign)) {
        int rc = marks_find(s->traits, MARK_CAMPAIGN, r->campaign, &j->arena, &mark);

        if (rc < 0)
            return rc;
        j->marked = rc == 0;
        if (rc == 0)
            return says(&mark, "arm", "held_out") ? EXPORT_HELD_OUT : EXPORT_REASONS;
    }
    if (export_drawn("waymark control group", STR_NONE, id, j->o->control_percent * PERCENT))
        return EXPORT_CONTROL_GROUP;
    return r->hold_out && export_drawn("waymark hold-out", r->campaign, id, r->hold_out) ? EXPORT_HELD_OUT
                                                                                         : EXPORT_REASONS;
}

static int decide(struct export_judge *j, struct str id, struct rule_subject *s)
{
    const struct export_request *r = j->o->request;
    unsigned lately = 0;
    int rc = 0;

    if (!s->traits || traits_consent_of(s->traits, r->purpose) != CONSENT_GRANTED)
        return EXPORT_NO_CONSENT;
    if (j->wants_person)
        rc = export_person_read(s->traits, j->o->rules->traits, j->o->country, j->parser, &j->arena, &j->person);
    if (rc == 0 && is_suppressed(j, id, s))
        return EXPORT_SUPPRESSED;
    if (rc == 0)
        rc = write_line(j, id, s);
    if (rc == 0 && !has_identifier(j))
        return EXPORT_NO_IDENTIFIER;
    if (rc == 0 && r->cap_times)
        rc = count_lately(j, s, &lately);
    if (rc == 0 && r->cap_times && lately >= r->cap_times)
        return EXPORT_CAPPED;
    return rc < 0 ? rc : draw(j, id, s);
}

int export_judge(struct export_judge *j, struct str id, struct rule_subject *s, struct err *e)
{
    arena_reset(&j->arena);
    j->person = (struct export_person){.email_count = 0};
    j->marked = false;
    int rc = decide(j, id, s);
    if (rc < 0)
        err_set(e, "somebody could not be exported: %s", strerror(-rc));
    return rc;
}
