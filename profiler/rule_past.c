/* Remembering what rules found in a path; see rule_past.h. The thread of the evaluation. */
#include "profiler/rule_past.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/rule_eval_inside.h"

#define WORD 64

/* By function: `to` is one past the last event that it knows, `from` the first. */
struct past_memo {
    struct past_memo *next;
    const struct rule_node *node;
    bool known; /* else it was asked for, and nothing more */
    size_t from, to;
    uint64_t *bits; /* OP_COUNT: those that fulfil the condition, by event */
    size_t words;
    struct str *texts; /* OP_INTEREST: by event */
    size_t room;
    struct rule_value value; /* OP_LAST: of the event before `to` */
};

struct past_list {
    struct past_list *next;
    struct str name; /* behind the struct */
    bool whole;      /* none is missing */
    struct event_key *keys;
    size_t n, room;
    struct past_memo *memos;
};

struct rule_past {
    struct past_list *lists;
    struct arena arena; /* texts and values */
    bool fresh;         /* it knows nothing: what is asked for now becomes known */
    bool useless;
};

struct rule_past *rule_past_new(void)
{
    struct rule_past *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    arena_init(&p->arena, SIZE_MAX);
    p->fresh = true;
    return p;
}

static void forget_memo(struct past_memo *m)
{
    free(m->bits);
    free(m->texts);
    *m = (struct past_memo){.next = m->next, .node = m->node};
}

static void forget_list(struct past_list *l)
{
    free(l->keys);
    l->keys = NULL;
    l->n = l->room = 0;
    l->whole = true;
    for (struct past_memo *m = l->memos; m; m = m->next)
        forget_memo(m);
}

void rule_past_reset(struct rule_past *p)
{
    for (struct past_list *l = p->lists; l; l = l->next)
        forget_list(l);
    arena_deinit(&p->arena);
    arena_init(&p->arena, SIZE_MAX);
    p->fresh = true;
}

static void free_list(struct past_list *l)
{
    forget_list(l);
    for (struct past_memo *m = l->memos, *next; m; m = next) {
        next = m->next;
        free(m);
    }
    free(l);
}

void rule_past_free(struct rule_past *p)
{
    if (!p)
        return;
    for (struct past_list *l = p->lists, *next; l; l = next) {
        next = l->next;
        free_list(l);
    }
    arena_deinit(&p->arena);
    free(p);
}

size_t rule_past_bytes(const struct rule_past *p)
{
    size_t n = sizeof *p + p->arena.held;

    for (const struct past_list *l = p->lists; l; l = l->next) {
        n += sizeof *l + l->name.n + l->room * sizeof *l->keys;
        for (const struct past_memo *m = l->memos; m; m = m->next)
            n += sizeof *m + m->words * sizeof *m->bits + m->room * sizeof *m->texts;
    }
    return n;
}

bool rule_past_useless(const struct rule_past *p)
{
    return p->useless;
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

int past_list(struct rule_past *p, struct str name, struct past_list **out)
{
    struct past_list *l = p->lists;

    while (l && !str_eq(l->name, name))
        l = l->next;
    if (!l) {
        l = calloc(1, sizeof *l + name.n + 1);
        if (!l)
            return -ENOMEM;
        l->name = (struct str){memcpy(l + 1, name.p, name.n), name.n};
        l->whole = p->fresh;
        l->next = p->lists;
        p->lists = l;
    }
    *out = l;
    return l->whole ? 0 : -ENODATA;
}

size_t past_count(const struct past_list *l)
{
    return l->n;
}

const struct event_key *past_key(const struct past_list *l, size_t i)
{
    assert(i < l->n);
    return &l->keys[i];
}

/* Whether it says the same of an event whenever it is asked, and of whomever. */
static bool is_of_event(const struct rule_node *n)
{
    bool fine = n->op <= OP_MAP || n->op == OP_PROPERTY || (n->op >= OP_AND && n->op <= OP_HAS) || n->op == OP_DATE ||
                n->op == OP_MONTH;

    for (size_t i = 0; i < n->kid_count && fine; i++)
        fine = is_of_event(n->kids[i]);
    return fine;
}

int past_memo(struct rule_past *p, struct past_list *l, const struct rule_node *n, size_t from, struct past_memo **out)
{
    struct past_memo *m = l->memos;

    while (m && m->node != n)
        m = m->next;
    if (!m) {
        m = calloc(1, sizeof *m);
        if (!m)
            return -ENOMEM;
        m->node = n;
        m->next = l->memos;
        l->memos = m;
        p->useless = p->useless || (n->op == OP_COUNT && !is_of_event(n->kids[0]));
    }
    *out = m;
    if (from >= l->n)
        return 0;
    return m->known && m->from <= from && m->to == l->n ? 0 : -ENODATA;
}

static uint64_t word_from(const struct past_memo *m, size_t from)
{
    return m->bits[from / WORD] & (UINT64_MAX << from % WORD);
}

size_t past_matching(const struct past_memo *m, size_t from)
{
    size_t n = 0;

    if (from >= m->to)
        return 0;
    n = (size_t)__builtin_popcountll(word_from(m, from));
    for (size_t i = from / WORD + 1; i * WORD < m->to; i++)
        n += (size_t)__builtin_popcountll(m->bits[i]);
    return n;
}

size_t past_next(const struct past_memo *m, size_t from)
{
    uint64_t word;
    size_t i = from / WORD;

    if (from >= m->to)
        return SIZE_MAX;
    word = word_from(m, from);
    while (word == 0 && (i + 1) * WORD < m->to)
        word = m->bits[++i];
    return word ? i * WORD + (size_t)__builtin_ctzll(word) : SIZE_MAX;
}

struct str past_text(const struct past_memo *m, size_t i)
{
    assert(i >= m->from && i < m->to);
    return m->texts[i - m->from];
}

struct rule_value past_value(const struct past_memo *m)
{
    return m->value;
}

/* --- taking in --------------------------------------------------------------------------------------------------- */

static void *widen(void *v, size_t *room, size_t need, size_t size)
{
    size_t n = *room + *room / 2 + 16;

    if (need <= *room)
        return v;
    if (n < need)
        n = need;
    v = realloc(v, n * size);
    if (v) {
        memset((char *)v + *room * size, 0, (n - *room) * size);
        *room = n;
    }
    return v;
}

static int take_count(struct eval *e, struct past_memo *m, struct rule_event *event, size_t at)
{
    uint64_t *bits = widen(m->bits, &m->words, at / WORD + 1, sizeof *bits);
    bool matches;
    int rc;

    if (!bits)
        return -ENOMEM;
    m->bits = bits;
    rc = eval_condition(e, m->node->kids[0], event, &matches);
    if (rc == 0 && matches)
        bits[at / WORD] |= UINT64_C(1) << at % WORD;
    return rc;
}

static int take_interest(struct eval *e, struct past_memo *m, struct rule_event *event, size_t at, struct arena *keep)
{
    const size_t i = at - m->from;
    struct str *texts = widen(m->texts, &m->room, i + 1, sizeof *texts);
    struct str text;
    int rc;

    if (!texts)
        return -ENOMEM;
    m->texts = texts;
    rc = interest_text(e, m->node, event, &text);
    if (rc != 0)
        return rc;
    if (i > 0 && str_eq(text, texts[i - 1]))
        texts[i] = texts[i - 1];
    else
        texts[i] = arena_dup(keep, text);
    return str_has(text) && !texts[i].p ? -ENOMEM : 0;
}

static int take_last(struct eval *e, struct past_memo *m, struct rule_event *event, struct arena *keep)
{
    int rc = event_property(e, event, m->node->kids[0]->text, m->node->personal, &m->value);

    return rc ? rc : value_dup(keep, &m->value);
}

/* The first `n` of those that were read follow those that are known. */
static int take_memo(struct eval *e, struct past_memo *m, const struct rule_event_list *l, size_t n, struct arena *keep)
{
    const size_t end = l->before + n;
    int rc = 0;

    if (!m->known) {
        size_t from = m->node->window_ms == RULE_EVER ? 0 : rule_events_after(l, e->s->now - m->node->window_ms);

        if (m->node->op == OP_LAST)
            from = end ? end - 1 : 0;
        if (m->node->op == OP_INTEREST && end > LIMIT_RULE_INTEREST && from < end - LIMIT_RULE_INTEREST)
            from = end - LIMIT_RULE_INTEREST;
        if (from < l->before)
            return 0; /* nobody needs what it could not know */
        m->from = from < end ? from : end;
        m->known = true;
    }
    for (size_t i = l->before > m->from ? l->before : m->from; i < end && rc == 0; i++) {
        struct rule_event *event = &l->v[i - l->before];

        if (m->node->op == OP_COUNT)
            rc = take_count(e, m, event, i);
        else if (m->node->op == OP_INTEREST)
            rc = take_interest(e, m, event, i, keep);
        else if (i + 1 == end)
            rc = take_last(e, m, event, keep);
    }
    m->to = end;
    return rc;
}

static int take_list(struct rule_past *p, struct eval *e, struct past_list *list, int64_t before)
{
    struct rule_event_list l;
    struct event_key *keys;
    size_t n = 0;
    int rc = rule_events_named(e->s, list->name, &l);

    if (rc != 0)
        return rc;
    while (n < l.n && l.v[n].key->time < before)
        n++;
    for (struct past_memo *m = list->memos; m && rc == 0; m = m->next)
        rc = take_memo(e, m, &l, n, &p->arena);
    if (rc != 0 || n == 0)
        return rc;
    keys = widen(list->keys, &list->room, list->n + n, sizeof *keys);
    if (!keys)
        return -ENOMEM;
    list->keys = keys;
    for (size_t i = 0; i < n; i++)
        keys[list->n++] = *l.v[i].key;
    return 0;
}

int rule_past_take(struct rule_past *p, struct rule_subject *s, int64_t before)
{
    struct eval e = {.s = s, .arena = s->arena, .next = INT64_MAX};
    int rc = 0;

    assert(s->past == p);
    for (struct past_list *l = p->lists; l && rc == 0; l = l->next)
        rc = take_list(p, &e, l, before);
    p->fresh = false;
    return rc;
}
