/* Random rules about random people at random moments, against an oracle that reads the story of the person event by
 * event: what a rule is now, that it is nothing else before its next change, and that no flip is missed. */
#include "tests/support/rule_case.h"

static uint64_t seed;

static int64_t below(int64_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((seed >> 33) % (uint64_t)n);
}

static bool chance(int64_t percent)
{
    return below(100) < percent;
}

/* --- the story ---------------------------------------------------------------------------------------------------- */

#define START INT64_C(1767225600000) /* 2026-01-01 */
#define NAMES 3
#define COLORS 3

static const char *const names[NAMES] = {"Product Viewed", "Product Added", "Search"};
static const char *const colors[COLORS] = {"red", "blue", "green"};

struct seen {
    int name, color;
    int64_t time;
};

struct bought {
    bool cancelled;
    int64_t time, cancelled_at, total;
    int64_t refund_at, refund; /* 0: none */
};

struct story {
    struct seen seen[40];
    size_t seen_count;
    struct bought bought[6];
    size_t bought_count;
};

/* Whole hours now and then, so that things meet. */
static int64_t some_time(void)
{
    return START + (chance(50) ? below(60 * 24) * TIME_HOUR : below(60 * DAY));
}

static void tell(struct story *s)
{
    *s = (struct story){.seen_count = (size_t)(1 + below(25)), .bought_count = (size_t)below(5)};
    for (size_t i = 0; i < s->seen_count; i++)
        s->seen[i] = (struct seen){(int)below(NAMES), (int)below(COLORS), some_time()};
    for (size_t i = 0; i < s->bought_count; i++) {
        struct bought *b = &s->bought[i];

        *b = (struct bought){.time = some_time(), .total = 1 + below(100), .cancelled = chance(20)};
        b->cancelled_at = b->time + 1 + below(5 * DAY);
        if (chance(30)) {
            b->refund_at = b->time + 1 + below(10 * DAY);
            b->refund = 1 + below(b->total);
        }
    }
}

static void live(const struct story *s, struct rule_person *p)
{
    static const char *const ids[] = {"A", "B", "C", "D", "E", "F"};

    for (size_t i = 0; i < s->seen_count; i++) {
        struct event *e = person_event(p, EVENT_TRACK, names[s->seen[i].name], s->seen[i].time);

        if (chance(50)) /* in a field of its own, or among the properties */
            person_item(p, e)->color = str_of(colors[s->seen[i].color]);
        else
            e->properties = str_of(s->seen[i].color == 0   ? "{\"color\":\"red\",\"n\":1}"
                                   : s->seen[i].color == 1 ? "{\"n\":[1],\"color\":\"bl\\u0075e\"}"
                                                           : "{\"color\":\"x\",\"color\":\"green\"}");
    }
    for (size_t i = 0; i < s->bought_count; i++) {
        const struct bought *b = &s->bought[i];

        person_states(p, ids[i], STATUS_PAID, b->time, b->total);
        if (b->cancelled)
            person_states(p, ids[i], STATUS_CANCELLED, b->cancelled_at, 0);
        if (b->refund)
            person_refund(p, ids[i], b->refund_at, b->refund);
    }
}

/* --- what it comes to ----------------------------------------------------------------------------------------------
 */

enum moment { FIRST_SEEN, LAST_SEEN, LAST_ORDER, MOMENTS };
static const char *const moment_names[MOMENTS] = {"first_seen", "last_seen", "last_order_at"};

/* False: the person has none. */
static bool moment_of(const struct story *s, enum moment which, int64_t *out)
{
    bool has = false;

    if (which == LAST_ORDER) {
        for (size_t i = 0; i < s->bought_count; i++)
            if (!s->bought[i].cancelled && (!has || s->bought[i].time > *out)) {
                *out = s->bought[i].time;
                has = true;
            }
        return has;
    }
    for (size_t i = 0; i < s->seen_count; i++)
        if (!has || (which == FIRST_SEEN ? s->seen[i].time < *out : s->seen[i].time > *out)) {
            *out = s->seen[i].time;
            has = true;
        }
    return has;
}

static int64_t counted(const struct story *s, int name, int color, int64_t after)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->seen_count; i++)
        n += s->seen[i].name == name && (color < 0 || s->seen[i].color == color) && s->seen[i].time > after;
    return n;
}

static int64_t orders_after(const struct story *s, int64_t after)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->bought_count; i++)
        n += !s->bought[i].cancelled && s->bought[i].time > after;
    return n;
}

static int64_t spent_after(const struct story *s, int64_t after)
{
    int64_t sum = 0;

    for (size_t i = 0; i < s->bought_count; i++) {
        const struct bought *b = &s->bought[i];

        if (b->cancelled)
            continue;
        sum += b->time > after ? b->total : 0;
        sum -= b->refund && b->refund_at > after ? b->refund : 0;
    }
    return sum;
}

static int64_t day_number(int64_t ms)
{
    return ms / DAY; /* UTC, after 1970 */
}

/* --- rules ---------------------------------------------------------------------------------------------------------
 */

enum kind {
    ALL,
    ANY,
    NOT,
    EITHER, /* a ? b : c */
    COUNT,
    COUNT_COLOR,
    COUNT_ORDERS,
    SPENT,
    DAYS,
    DAYS_APART, /* days_since(a) - days_since(b) */
    DAYS_RATIO, /* days_since(a) / days_since(b) */
    OFTEN,      /* count in a window / days_since(a) */
    MIXED,      /* count + days_since */
    PRODUCT,    /* days_since * days_since */
    WHOLE_DAYS, /* int(days_since) % 7 */
    DATES,      /* today() - date(t) */
    MONTHS,
    LEFT, /* not_followed_by */
    AGE,  /* now - t */
    HAS_ORDER,
    KINDS
};

struct test_rule {
    enum kind kind;
    struct test_rule *kids[3];
    int op; /* of ops */
    int name, color;
    enum moment a, b;
    int64_t days, number; /* of a window in hours; halves */
};

static const char *const ops[] = {">=", "<", ">", "<=", "==", "!="};

static bool compare(int op, __int128 a, __int128 b)
{
    switch (op) {
    case 0:
        return a >= b;
    case 1:
        return a < b;
    case 2:
        return a > b;
    case 3:
        return a <= b;
    case 4:
        return a == b;
    default:
        return a != b;
    }
}

static struct test_rule pool[64];
static size_t pooled;

static struct test_rule *random_rule(int depth)
{
    struct test_rule *r = &pool[pooled++];

    assert_true(pooled <= 64);
    *r = (struct test_rule){.op = (int)below(6),
                            .name = (int)below(NAMES),
                            .color = (int)below(COLORS),
                            .a = (enum moment)below(MOMENTS),
                            .b = (enum moment)below(MOMENTS),
                            .days = 1 + below(40 * 24),
                            .number = below(80)};
    if (depth > 0 && chance(55)) {
        r->kind = (enum kind)below(COUNT);
        for (int i = 0; i < 3; i++)
            r->kids[i] = random_rule(depth - 1);
        return r;
    }
    r->kind = (enum kind)(COUNT + below(KINDS - COUNT));
    return r;
}

static void write_leaf(const struct test_rule *r, struct buf *b)
{
    const char *op = ops[r->op], *a = moment_names[r->a], *c = moment_names[r->b];
    const long long n = r->number, h = r->days;
    const double half = (double)n / 2;

    switch (r->kind) {
    case COUNT:
        buf_addf(b, "count(\"%s\", hours(%lld)) %s %lld", names[r->name], h, op, n % 4);
        break;
    case COUNT_COLOR:
        buf_addf(b, "count(\"%s\", hours(%lld), e.color == \"%s\") %s %lld", names[r->name], h, colors[r->color], op,
                 n % 3);
        break;
    case COUNT_ORDERS:
        buf_addf(b, "count(\"Order Completed\", hours(%lld)) %s %lld", h, op, n % 3);
        break;
    case SPENT:
        buf_addf(b, "sum(\"spent\", hours(%lld)) %s %lld", h, op, n - 10);
        break;
    case DAYS:
        buf_addf(b, "days_since(%s) %s %g", a, op, half);
        break;
    case DAYS_APART:
        buf_addf(b, "days_since(%s) - 2 * days_since(%s) %s -%g", a, c, op, half);
        break;
    case DAYS_RATIO:
        buf_addf(b, "days_since(%s) / days_since(%s) %s %g / 8", a, c, op, half);
        break;
    case OFTEN:
        buf_addf(b, "count(\"%s\", hours(%lld)) / days_since(%s) %s %g / 32", names[r->name], h, a, op, half);
        break;
    case MIXED:
        buf_addf(b, "count(\"%s\", hours(%lld)) + days_since(%s) %s %g", names[r->name], h, a, op, half);
        break;
    case PRODUCT:
        buf_addf(b, "days_since(%s) * days_since(%s) %s %g", a, c, op, half * 8);
        break;
    case WHOLE_DAYS:
        buf_addf(b, "int(days_since(%s)) %% 7 %s %lld", a, op, n % 7);
        break;
    case DATES:
        buf_addf(b, "today() - date(%s) %s days(%lld)", a, op, n);
        break;
    case MONTHS:
        buf_addf(b, "month(now) %s %lld", op, n % 12 + 1);
        break;
    case LEFT:
        buf_addf(b, "not_followed_by(\"%s\", \"Order Completed\", hours(%lld), hours(%lld))", names[r->name], h,
                 h + 50);
        break;
    case AGE:
        buf_addf(b, "now - %s %s hours(%lld)", a, op, h);
        break;
    default:
        buf_add_text(b, "has(last_order_at)");
    }
}

static void write_rule(const struct test_rule *r, struct buf *b)
{
    if (r->kind >= COUNT) {
        write_leaf(r, b);
        return;
    }
    buf_add_text(b, r->kind == NOT ? "!(" : "(");
    write_rule(r->kids[0], b);
    buf_add_char(b, ')');
    if (r->kind == NOT)
        return;
    buf_add_text(b, r->kind == ALL ? " && (" : r->kind == ANY ? " || (" : " ? (");
    write_rule(r->kids[1], b);
    buf_add_char(b, ')');
    if (r->kind != EITHER)
        return;
    buf_add_text(b, " : (");
    write_rule(r->kids[2], b);
    buf_add_char(b, ')');
}

/* --- the oracle ----------------------------------------------------------------------------------------------------
 */

static bool left(const struct test_rule *r, const struct story *s, int64_t now)
{
    int64_t latest = INT64_MIN;

    for (size_t i = 0; i < s->seen_count; i++)
        if (s->seen[i].name == r->name && s->seen[i].time > latest)
            latest = s->seen[i].time;
    if (latest == INT64_MIN)
        return false;
    for (size_t i = 0; i < s->bought_count; i++) /* stated after all that was seen */
        if (!s->bought[i].cancelled && s->bought[i].time >= latest)
            return false;
    return now - latest > r->days * TIME_HOUR && now - latest <= (r->days + 50) * TIME_HOUR;
}

/* Of two moments x and y before now, in ms; the rest as the texts have it. */
static bool apart(const struct test_rule *r, const struct story *s, int64_t now)
{
    const __int128 window = r->days * TIME_HOUR;
    int64_t a, b;

    if (!moment_of(s, r->a, &a))
        return false;
    const __int128 x = (__int128)now - a, count = counted(s, r->name, -1, (int64_t)(now - window));
    switch (r->kind) {
    case DAYS:
        return compare(r->op, 2 * x, (__int128)r->number * DAY);
    case OFTEN:
        if (x == 0)
            return false;
        return x > 0 ? compare(r->op, count * DAY * 64, r->number * x)
                     : compare(r->op, -count * DAY * 64, -r->number * x);
    case MIXED:
        return compare(r->op, 2 * (count * DAY + x), (__int128)r->number * DAY);
    case WHOLE_DAYS:
        return compare(r->op, x / DAY % 7, r->number % 7);
    case DATES:
        return compare(r->op, day_number(now) - day_number(a), r->number);
    case AGE:
        return compare(r->op, x, window);
    default:
        break;
    }
    if (!moment_of(s, r->b, &b))
        return false;
    const __int128 y = (__int128)now - b;
    if (r->kind == DAYS_APART)
        return compare(r->op, 2 * (x - 2 * y), -(__int128)r->number * DAY);
    if (r->kind == PRODUCT)
        return compare(r->op, x * y, (__int128)r->number * 4 * DAY * DAY);
    assert_true(r->kind == DAYS_RATIO);
    return y != 0 && (y > 0 ? compare(r->op, 16 * x, r->number * y) : compare(r->op, -16 * x, -r->number * y));
}

static bool is_true(const struct test_rule *r, const struct story *s, int64_t now)
{
    const int64_t begin = now - r->days * TIME_HOUR;
    int64_t unused;

    switch (r->kind) {
    case ALL:
        return is_true(r->kids[0], s, now) && is_true(r->kids[1], s, now);
    case ANY:
        return is_true(r->kids[0], s, now) || is_true(r->kids[1], s, now);
    case NOT:
        return !is_true(r->kids[0], s, now);
    case EITHER:
        return is_true(r->kids[is_true(r->kids[0], s, now) ? 1 : 2], s, now);
    case COUNT:
        return compare(r->op, counted(s, r->name, -1, begin), r->number % 4);
    case COUNT_COLOR:
        return compare(r->op, counted(s, r->name, r->color, begin), r->number % 3);
    case COUNT_ORDERS:
        return compare(r->op, orders_after(s, begin), r->number % 3);
    case SPENT:
        return compare(r->op, spent_after(s, begin), r->number - 10);
    case MONTHS: {
        struct buf b;

        buf_init(&b, KIB);
        time_write(&b, now);
        const int month = (b.p[5] - '0') * 10 + b.p[6] - '0';
        buf_deinit(&b);
        return compare(r->op, month, r->number % 12 + 1);
    }
    case LEFT:
        return left(r, s, now);
    case HAS_ORDER:
        return moment_of(s, LAST_ORDER, &unused);
    default:
        return apart(r, s, now);
    }
}

/* --- the property --------------------------------------------------------------------------------------------------
 */

struct asked {
    bool value;
    int64_t next;
};

static struct asked ask(struct rule_person *p, const struct rule *r, int64_t now)
{
    struct rule_subject s = person_subject(p, now);
    struct rule_result out;

    assert_int_equal(rule_eval(r, &s, &out), 0);
    rule_subject_done(&s);
    assert_true(out.next_change == TIME_NONE || out.next_change > now);
    return (struct asked){out.value.type == RULE_BOOL && out.value.truth, out.next_change};
}

struct counts {
    size_t asked, flips, exact;
};

/* The earliest flip between two moments at which the rule differs, as far as halving finds it. */
static int64_t find_flip(const struct test_rule *t, const struct story *s, int64_t from, int64_t to)
{
    const bool value = is_true(t, s, from);

    while (to - from > 1) {
        const int64_t middle = from + (to - from) / 2;

        if (is_true(t, s, middle) == value)
            from = middle;
        else
            to = middle;
    }
    return to;
}

static void check(const struct test_rule *t, const struct story *s, struct rule_person *p, const struct rule *r,
                  const char *text, int64_t now, struct counts *c)
{
    const struct asked a = ask(p, r, now);
    const int64_t next = a.next == TIME_NONE ? INT64_MAX : a.next;

    c->asked++;
    if (a.value != is_true(t, s, now))
        fail_msg("%s at %lld: %d", text, (long long)now, a.value);
    for (int i = 0; i < 12; i++) {
        const int64_t then = now + 1 + below(INT64_C(1) << (5 + below(29)));

        if (is_true(t, s, then) == a.value)
            continue;
        const int64_t flip = find_flip(t, s, now, then);
        if (flip < next)
            fail_msg("%s at %lld: flips in %lld ms, says %lld", text, (long long)now, (long long)(flip - now),
                     (long long)(next == INT64_MAX ? -1 : next - now));
    }
    if (next != INT64_MAX) {
        c->flips++;
        c->exact += is_true(t, s, next) != a.value;
    }
}

static void rules_of_a_story(uint64_t number, struct counts *c)
{
    struct rule_person *p = person_new();
    struct story s;
    struct buf b;

    seed = number;
    tell(&s);
    live(&s, p);
    buf_init(&b, LIMIT_RULE_BYTES);
    for (int i = 0; i < 12; i++) {
        int64_t now = START + below(80 * DAY);

        pooled = 0;
        const struct test_rule *t = random_rule(2);
        buf_reset(&b);
        write_rule(t, &b);
        buf_add_char(&b, '\0');
        struct rule *r = rule_of_text(p, b.p);
        if (chance(30)) /* just at the edge of something */
            now = s.seen[0].time + t->days * TIME_HOUR + below(3) - 1;
        for (int k = 0; k < 5; k++) { /* from wake to wake */
            check(t, &s, p, r, b.p, now, c);
            const struct asked a = ask(p, r, now);
            if (a.next == TIME_NONE)
                break;
            now = a.next;
        }
        rule_free(r);
    }
    buf_deinit(&b);
    person_free(p);
}

static void no_flip_is_missed(void **state)
{
    const char *from = getenv("SEED"), *rounds = getenv("ROUNDS");
    const uint64_t first = from ? strtoull(from, NULL, 10) : 1, n = rounds ? strtoull(rounds, NULL, 10) : 1500;
    struct counts c = {0};

    (void)state;
    for (uint64_t i = first; i < first + n; i++)
        rules_of_a_story(i, &c);
    print_message("%zu evaluations, %zu next changes, %zu of them flips\n", c.asked, c.flips, c.exact);
    assert_true(c.exact * 3 > c.flips); /* waking early is harmless, but not all the time */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_flip_is_missed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
