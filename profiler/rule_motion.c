/* Values that move with time. Pure; any thread. */
#include "profiler/rule_motion.h"

#include <assert.h>
#include <math.h>

#include "profiler/rule_day.h"

#define FAR (INT64_C(1) << 42)    /* ms, 139 years, longer than any window: as good as never */
#define STRIDE (INT64_C(1) << 22) /* ms, an hour: the first stretch in which a flip is looked for */
#define TRIES 64                  /* changes of sign that are looked through for one comparison */

static int signed_way(struct rule_number rate)
{
    return rule_number_sign(rate);
}

void motion_line(struct motion *m, struct rule_number n, struct rule_number rate)
{
    int sign = rule_number_sign(n), way = signed_way(rate);

    *m = (struct motion){.kind = MOTION_LINE, .way = way, .n = n, .rate = rate};
    if (way == 0 || sign == 0 || sign == way)
        m->keeps = sign ? sign : way;
}

static bool is_still(const struct motion *m)
{
    return m->kind == MOTION_LINE && m->way == MOTION_STILL;
}

/* --- making ------------------------------------------------------------------------------------------------------ */

static int way_of_sum(int a, int b)
{
    if (a == MOTION_STILL || a == b)
        return b;
    return b == MOTION_STILL ? a : MOTION_ANY_WAY;
}

static int turned(int way)
{
    return way == MOTION_ANY_WAY ? way : -way;
}

static int way_of_product(int way_a, int keeps_a, int way_b, int keeps_b)
{
    if ((way_a != MOTION_STILL && (way_a == MOTION_ANY_WAY || keeps_b == 0)) ||
        (way_b != MOTION_STILL && (way_b == MOTION_ANY_WAY || keeps_a == 0)))
        return MOTION_ANY_WAY;
    return way_of_sum(way_a * keeps_b, way_b * keeps_a);
}

static void describe_sum(struct motion *m, bool minus)
{
    int keeps_b = minus ? -m->b->keeps : m->b->keeps;

    m->way = way_of_sum(m->a->way, minus ? turned(m->b->way) : m->b->way);
    m->keeps = m->a->keeps == keeps_b ? keeps_b : 0;
}

/* The sign of one that is not zero now and never will be. */
static int never_zero(const struct motion *m)
{
    struct rule_number now;
    int sign = motion_at(m, 0, &now) ? rule_number_sign(now) : 0;

    return sign != 0 && (m->way == MOTION_STILL || m->way == sign) ? sign : 0;
}

static void describe_quotient(struct motion *m)
{
    const struct motion *a = m->a, *b = m->b;
    int sign = never_zero(b);

    m->way = MOTION_ANY_WAY;
    if (sign == 0)
        return;
    m->keeps = a->keeps * sign;
    m->way = way_of_product(a->way, a->keeps, turned(b->way), sign);
    if (m->way == MOTION_ANY_WAY && a->kind == MOTION_LINE && b->kind == MOTION_LINE) {
        struct rule_number x, y;

        if (rule_number_mul(a->rate, b->n, &x) && rule_number_mul(a->n, b->rate, &y))
            m->way = rule_number_cmp(x, y);
    }
}

/* Lines stay lines where that can be. */
static bool join_lines(enum motion_kind kind, const struct motion *a, const struct motion *b, struct motion *out)
{
    struct rule_number n, rate;
    bool ok = false;

    if (a->kind != MOTION_LINE || b->kind != MOTION_LINE)
        return false;
    if (kind == MOTION_ADD)
        ok = rule_number_add(a->n, b->n, &n) && rule_number_add(a->rate, b->rate, &rate);
    else if (kind == MOTION_SUB)
        ok = rule_number_sub(a->n, b->n, &n) && rule_number_sub(a->rate, b->rate, &rate);
    else if (kind == MOTION_MUL && is_still(b))
        ok = rule_number_mul(a->n, b->n, &n) && rule_number_mul(a->rate, b->n, &rate);
    else if (kind == MOTION_MUL && is_still(a))
        ok = rule_number_mul(a->n, b->n, &n) && rule_number_mul(a->n, b->rate, &rate);
    else if (kind == MOTION_DIV && is_still(b))
        ok = rule_number_div(a->n, b->n, &n) && rule_number_div(a->rate, b->n, &rate);
    if (ok)
        motion_line(out, n, rate);
    return ok;
}

static bool is_quotient_of_lines(const struct motion *m)
{
    return m->kind == MOTION_DIV && m->a->kind == MOTION_LINE && m->b->kind == MOTION_LINE;
}

/* A quotient of lines stays one beside what is still: (a / b) * k is (a * k) / b. NULL with true: memory is out. */
static bool join_quotient(enum motion_kind kind, const struct motion *a, const struct motion *b, struct arena *arena,
                          const struct motion **out)
{
    const struct motion *above;

    if (kind == MOTION_MUL && is_still(a) && is_quotient_of_lines(b))
        return join_quotient(kind, b, a, arena, out);
    if (!is_quotient_of_lines(a) || !is_still(b) || (kind != MOTION_MUL && kind != MOTION_DIV))
        return false;
    if (kind == MOTION_DIV && rule_number_sign(b->n) == 0)
        return false;
    above = motion_join(kind, a->a, b, arena);
    *out = above ? motion_join(MOTION_DIV, above, a->b, arena) : NULL;
    return true;
}

const struct motion *motion_join(enum motion_kind kind, const struct motion *a, const struct motion *b,
                                 struct arena *arena)
{
    struct motion *m = arena_alloc(arena, sizeof *m);
    const struct motion *joined;

    assert(kind >= MOTION_ADD);
    if (!m || join_lines(kind, a, b, m))
        return m;
    if (join_quotient(kind, a, b, arena, &joined))
        return joined;
    *m = (struct motion){.kind = kind, .a = a, .b = b};
    if (kind == MOTION_ADD || kind == MOTION_SUB) {
        describe_sum(m, kind == MOTION_SUB);
    } else if (kind == MOTION_MUL) {
        m->keeps = a->keeps * b->keeps;
        m->way = way_of_product(a->way, a->keeps, b->way, b->keeps);
    } else {
        describe_quotient(m);
    }
    return m;
}

const struct motion *motion_local(enum motion_kind kind, const struct motion *a, const struct zone *zone,
                                  struct arena *arena)
{
    struct motion *m = arena_alloc(arena, sizeof *m);

    if (m)
        *m = (struct motion){.kind = kind, .way = a->way, .a = a, .zone = zone};
    return m;
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

static struct rule_number steps_at(const struct motion *m, int64_t from_now)
{
    size_t low = 0, high = m->count; /* steps that were made by then */

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (m->at[middle] - m->now <= from_now)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? m->then[low - 1] : m->n;
}

static bool local_at(const struct motion *m, int64_t from_now, struct rule_number *out)
{
    struct rule_number a;
    int64_t ms;

    if (!motion_at(m->a, from_now, &a))
        return false;
    ms = (int64_t)rule_number_floor(a);
    ms = m->kind == MOTION_DAY ? rule_day(m->zone, ms) * TIME_DAY : rule_day_start(m->zone, ms / TIME_DAY);
    *out = rule_number_of_int(ms);
    return true;
}

bool motion_at(const struct motion *m, int64_t from_now, struct rule_number *out)
{
    struct rule_number a, b;

    if (m->kind == MOTION_LINE) {
        if (m->way == MOTION_STILL || from_now == 0) {
            *out = m->n;
            return true;
        }
        return rule_number_mul(m->rate, rule_number_of_int(from_now), &a) && rule_number_add(m->n, a, out);
    }
    if (m->kind == MOTION_STEPS) {
        *out = steps_at(m, from_now);
        return true;
    }
    if (m->kind == MOTION_DAY || m->kind == MOTION_MIDNIGHT)
        return local_at(m, from_now, out);
    if (m->kind == MOTION_CUT) {
        if (!motion_at(m->a, from_now, &a))
            return false;
        *out = rule_number_of_int(rule_number_cut(a));
        return true;
    }
    if (!motion_at(m->a, from_now, &a) || !motion_at(m->b, from_now, &b))
        return false;
    switch (m->kind) {
    case MOTION_ADD:
        return rule_number_add(a, b, out);
    case MOTION_SUB:
        return rule_number_sub(a, b, out);
    case MOTION_MUL:
        return rule_number_mul(a, b, out);
    default:
        return rule_number_div(a, b, out);
    }
}

/* --- bounds of a stretch of time --------------------------------------------------------------------------------- */

/* What is not known to be still between jumps may be anything there. */
static bool only_jumps(const struct motion *m)
{
    if (m->kind == MOTION_LINE)
        return m->way == MOTION_STILL;
    if (m->kind == MOTION_STEPS || m->kind == MOTION_DAY || m->kind == MOTION_MIDNIGHT)
        return true;
    if (m->kind == MOTION_CUT)
        return only_jumps(m->a);
    return only_jumps(m->a) && only_jumps(m->b);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The end of the local day in which a moment that goes with the clock is. */
static int64_t day_jump(const struct motion *m, int64_t from)
{
    struct rule_number a;
    int64_t ms;

    if (m->a->kind != MOTION_LINE || rule_number_cmp(m->a->rate, rule_number_of_int(1)) != 0 ||
        !motion_at(m->a, from, &a))
        return from + 1;
    ms = (int64_t)rule_number_floor(a);
    return from + (rule_day_end(m->zone, ms) - ms);
}

/* The next jump after `from`. */
static int64_t next_jump(const struct motion *m, int64_t from)
{
    switch (m->kind) {
    case MOTION_LINE:
        return MOTION_NEVER;
    case MOTION_STEPS:
        for (size_t i = 0; i < m->count; i++)
            if (m->at[i] - m->now > from)
                return m->at[i] - m->now;
        return MOTION_NEVER;
    case MOTION_DAY:
        return day_jump(m, from);
    case MOTION_MIDNIGHT:
    case MOTION_CUT: /* its own jumps are between what it is at both ends of a stretch */
        return next_jump(m->a, from);
    default:
        return least(next_jump(m->a, from), next_jump(m->b, from));
    }
}

/* How far it is known. */
static int64_t horizon(const struct motion *m)
{
    if (m->kind == MOTION_STEPS)
        return m->open ? m->at[m->count - 1] - m->now : MOTION_NEVER;
    if (m->kind == MOTION_DAY || m->kind == MOTION_MIDNIGHT || m->kind == MOTION_CUT)
        return horizon(m->a);
    return m->kind == MOTION_LINE ? MOTION_NEVER : least(horizon(m->a), horizon(m->b));
}

struct span {
    long double low, high;
};

static struct span widened(long double low, long double high)
{
    const long double slack = 1e-15L * fmaxl(fabsl(low), fabsl(high));

    return (struct span){low - slack, high + slack};
}

static struct span span_product(struct span a, struct span b)
{
    long double p = a.low * b.low, q = a.low * b.high, r = a.high * b.low, s = a.high * b.high;

    return widened(fminl(fminl(p, q), fminl(r, s)), fmaxl(fmaxl(p, q), fmaxl(r, s)));
}

/* Between what values it lies from one moment to another, between which it does not jump. False: anywhere. */
static bool span_of(const struct motion *m, int64_t from, int64_t to, struct span *out)
{
    struct rule_number x, y;
    struct span a, b;

    if (m->kind < MOTION_ADD) {
        if (!motion_at(m, from, &x) || !motion_at(m, to, &y))
            return false;
        *out = widened(fminl(rule_number_float(x), rule_number_float(y)),
                       fmaxl(rule_number_float(x), rule_number_float(y)));
        return true;
    }
    if (!span_of(m->a, from, to, &a) || !span_of(m->b, from, to, &b))
        return false;
    if (m->kind == MOTION_ADD) {
        *out = widened(a.low + b.low, a.high + b.high);
    } else if (m->kind == MOTION_SUB) {
        *out = widened(a.low - b.high, a.high - b.low);
    } else if (m->kind == MOTION_MUL) {
        *out = span_product(a, b);
    } else {
        if (b.low <= 0 && b.high >= 0)
            return false;
        *out = span_product(a, widened(1 / b.high, 1 / b.low));
    }
    return true;
}

/* --- flips ------------------------------------------------------------------------------------------------------- */

enum { NO_SIGN = 2 }; /* one of the two has no value */

struct pair {
    const struct motion *l, *r;
};

static int sign_at(const struct pair *p, int64_t from_now)
{
    struct rule_number l, r;

    if (!motion_at(p->l, from_now, &l) || !motion_at(p->r, from_now, &r))
        return NO_SIGN;
    return rule_number_cmp(l, r);
}

static bool holds_at(const struct pair *p, int64_t from_now, unsigned holds)
{
    int sign = sign_at(p, from_now);

    return sign != NO_SIGN && (holds & (sign < 0 ? MOTION_LESS : sign > 0 ? MOTION_GREATER : MOTION_EQUAL));
}

/* Of a distance and a speed, most often in one unit. */
static bool ratio(struct rule_number far, struct rule_number speed, struct rule_number *out)
{
    if (far.below != speed.below || speed.above == 0)
        return rule_number_div(far, speed, out);
    *out = speed.above > 0 ? rule_number_of(far.above, speed.above) : rule_number_of(-far.above, -speed.above);
    return true;
}

/* Of two lines: when they meet, or part. */
static int64_t next_sign_of_lines(const struct pair *p, int64_t from, int sign)
{
    struct rule_number far, speed, ms;
    __int128 after;

    if (rule_number_cmp(p->l->rate, p->r->rate) == 0)
        return MOTION_NEVER;
    if (sign == 0)
        return from + 1;
    if (rule_number_cmp(p->l->rate, p->r->rate) == sign)
        return MOTION_NEVER; /* they run apart */
    if (!rule_number_sub(p->r->n, p->l->n, &far) || !rule_number_sub(p->l->rate, p->r->rate, &speed) ||
        !ratio(far, speed, &ms))
        return from + 1;
    after = -rule_number_floor(rule_number_neg(ms)); /* the first whole ms at or behind it */
    if (after > FAR)
        return MOTION_NEVER;
    return after > from ? (int64_t)after : from + 1;
}

/* Of a growing line cut to whole numbers, as days are, beside what is still: the first whole number at which the sign
 * is another. Only a guess, which is to be looked at. MOTION_NEVER: there is none. */
static int64_t guess_of_cut(const struct pair *p, int64_t from, int sign)
{
    const struct motion *line = p->l->a;
    struct motion goal;
    __int128 whole;

    if (p->l->kind != MOTION_CUT || line->kind != MOTION_LINE || line->way <= 0 || !is_still(p->r) || sign > 0)
        return MOTION_NEVER;
    whole = sign == 0 ? rule_number_floor(p->r->n) + 1 : -rule_number_floor(rule_number_neg(p->r->n));
    motion_line(&goal, rule_number_of_int(whole), rule_number_of_int(0));
    return next_sign_of_lines(&(struct pair){line, &goal}, from, -1);
}

/* Of two whose difference goes one way. */
static int64_t next_sign_one_way(const struct pair *p, int64_t from, int sign)
{
    int64_t low = from, high = from + STRIDE; /* the sign is `sign` at low */
    int64_t guess;

    if (sign_at(p, from + 2 * FAR) == sign)
        return MOTION_NEVER;
    guess = guess_of_cut(p, from, sign);
    if (guess <= FAR && sign_at(p, guess) != sign && sign_at(p, guess - 1) == sign)
        return guess;
    while (sign_at(p, high) == sign) {
        if (high > FAR)
            return MOTION_NEVER;
        low = high;
        high += high - from;
    }
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;

        if (sign_at(p, middle) == sign)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* Of any two, between jumps: a moment up to which the sign certainly stays, and no later than it changes. */
static int64_t sign_stays(const struct pair *p, int64_t from, int64_t to, int sign)
{
    if (sign == 0 || sign == NO_SIGN)
        return from + 1;
    for (int64_t far = least(FAR, to - 1 - from); far >= 1; far /= 2) {
        struct span l, r;

        if (span_of(p->l, from + 1, from + far, &l) && span_of(p->r, from + 1, from + far, &r) &&
            (sign < 0 ? l.high < r.low : l.low > r.high))
            return from + far + 1;
    }
    return from + 1;
}

/* A quotient of lines beside a still one: the line above beside that below times as much. The divisor is never zero.
 * False: it is no such pair. */
static bool without_quotient(const struct pair *p, struct motion *room, struct pair *out)
{
    const struct motion *q = p->l, *below = q->b;
    struct rule_number n, rate;

    if (q->kind != MOTION_DIV || q->a->kind != MOTION_LINE || below->kind != MOTION_LINE || !is_still(p->r) ||
        never_zero(below) <= 0 || !rule_number_mul(below->n, p->r->n, &n) ||
        !rule_number_mul(below->rate, p->r->n, &rate))
        return false;
    motion_line(room, n, rate);
    *out = (struct pair){q->a, room};
    return true;
}

/* The next moment at which the sign may be another; *sure: it is worth looking. */
static int64_t next_sign(const struct pair *p, int64_t from, bool *sure)
{
    const int sign = sign_at(p, from);
    struct motion room;
    struct pair lines;
    int64_t jump;

    *sure = true;
    if (sign != NO_SIGN && without_quotient(p, &room, &lines))
        return next_sign_of_lines(&lines, from, sign);
    if (p->l->kind == MOTION_LINE && p->r->kind == MOTION_LINE && sign != NO_SIGN)
        return next_sign_of_lines(p, from, sign);
    if (way_of_sum(p->l->way, turned(p->r->way)) != MOTION_ANY_WAY && sign != NO_SIGN)
        return next_sign_one_way(p, from, sign);
    jump = least(next_jump(p->l, from), next_jump(p->r, from));
    if (only_jumps(p->l) && only_jumps(p->r))
        return jump;
    *sure = false;
    return sign_stays(p, from, least(jump, FAR), sign);
}

int64_t motion_flip(const struct motion *l, const struct motion *r, unsigned holds)
{
    const struct pair p = {l, r};
    const int64_t end = least(horizon(l), horizon(r));
    const bool now = holds_at(&p, 0, holds);
    int64_t at = 0;

    for (int i = 0; i < TRIES; i++) {
        bool sure;

        at = next_sign(&p, at, &sure);
        if (at >= end || at == MOTION_NEVER)
            return end;
        if (!sure || holds_at(&p, at, holds) != now)
            return at;
    }
    return at;
}
