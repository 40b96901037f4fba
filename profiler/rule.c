/* A rule from its text to what can be evaluated, and what it says about itself. Any thread. */
#include "profiler/rule.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/rule_check.h"

static void fail_type(struct rule_source *s, const struct rule_node *root, enum rule_type want)
{
    struct rule_place at = {root->from, root->to, root->line, root->column};
    struct str text = rule_excerpt(s, root->from, root->to);

    if (want == RULE_ANY)
        rule_fail(s, at, "the value must be true or false, a number or a text, and %.*s is %s", STR_ARG(text),
                  rule_type_words(root->type));
    else
        rule_fail(s, at, "the rule must be %s, and %.*s is %s", rule_type_words(want), STR_ARG(text),
                  rule_type_words(root->type));
}

static bool type_fits(enum rule_type is, enum rule_type want)
{
    if (is == RULE_ANY || is == want)
        return true;
    return want == RULE_ANY && (is == RULE_BOOL || is == RULE_NUMBER || is == RULE_STRING);
}

static bool compile(struct rule *r, struct rule_source *s, enum rule_type want, const struct rule_names *names)
{
    static const struct rule_names none;
    struct rule_checker checker = {.source = s, .names = names ? names : &none, .rule = r};
    struct rule_ast *a = rule_parse(s);

    r->root = a ? rule_check(&checker, a) : NULL;
    if (!r->root)
        return false;
    if (!type_fits(r->root->type, want)) {
        fail_type(s, r->root, want);
        return false;
    }
    return rule_warn(s, checker.names, r);
}

int rule_compile_within(size_t bytes, struct str text, enum rule_type want, const struct rule_names *names,
                        struct rule **out, struct rule_error *err)
{
    struct rule *r;
    struct arena scratch;
    struct rule_source s = {.err = err, .scratch = &scratch};
    bool done;

    *err = (struct rule_error){.line = 1, .column = 1};
    if (text.n > LIMIT_RULE_BYTES) {
        (void)snprintf(err->message, sizeof err->message, "the rule is too long: %zu bytes of at most %zu", text.n,
                       (size_t)LIMIT_RULE_BYTES);
        return -EINVAL;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    arena_init(&r->arena, bytes);
    arena_init(&scratch, bytes);
    s.arena = &r->arena;
    s.text = r->text = arena_dup(&r->arena, text.p ? text : STR_LIT(""));
    done = s.text.p && compile(r, &s, want, names);
    arena_deinit(&scratch);
    assert(!s.text.p || done == !(s.failed || s.no_memory));
    if (done) {
        *out = r;
        return 0;
    }
    rule_free(r);
    return s.failed ? -EINVAL : -ENOMEM;
}

int rule_compile(struct str text, enum rule_type want, const struct rule_names *names, struct rule **out,
                 struct rule_error *err)
{
    return rule_compile_within(LIMIT_RULE_ARENA, text, want, names, out, err);
}

void rule_free(struct rule *r)
{
    if (!r)
        return;
    arena_deinit(&r->arena);
    free(r);
}

struct str rule_text(const struct rule *r)
{
    return r->text;
}

enum rule_type rule_type(const struct rule *r)
{
    return r->root->type;
}

unsigned rule_needs(const struct rule *r)
{
    return r->needs;
}

bool rule_personal(const struct rule *r)
{
    return r->personal;
}

size_t rule_warnings(const struct rule *r, const struct rule_warning **out)
{
    *out = r->warnings;
    return r->warning_count;
}

size_t rule_tags(const struct rule *r, const struct str **out)
{
    *out = r->tags;
    return r->tag_count;
}

size_t rule_audiences(const struct rule *r, const struct str **out)
{
    *out = r->audiences;
    return r->audience_count;
}

size_t rule_campaigns(const struct rule *r, const struct str **out)
{
    *out = r->campaigns;
    return r->campaign_count;
}

size_t rule_clauses(const struct rule *r, struct str *out, size_t max)
{
    const struct rule_node *root = r->root;
    bool chain = root->op == OP_AND || root->op == OP_OR;
    size_t n = chain ? root->kid_count : 1;

    if (!chain || n > max) {
        if (max > 0)
            out[0] = (struct str){r->text.p + root->from, root->to - root->from};
        return max > 0;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (struct str){r->text.p + root->kids[i]->from, root->kids[i]->to - root->kids[i]->from};
    return n;
}
