/* Exact quotients: short operands take a short way, long ones 256 bits. Pure; any thread. */
#include "profiler/rule_number.h"

#include <assert.h>
#include <limits.h>
#include <math.h>

#include "common/num.h"

typedef unsigned __int128 wide;

#define BITS 126 /* of either half at most, so that its sign and a sum of two fit */
#define HALF_MAX ((__int128)1 << BITS)
#define READ_DIGITS 36 /* 10^36 is below 2^120 */

/* 256 bits without a sign. */
struct long_number {
    wide high, low;
};

static wide size_of(__int128 v)
{
    return v < 0 ? -(wide)v : (wide)v;
}

static int cmp_long(struct long_number a, struct long_number b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

static struct long_number mul_long(wide a, wide b)
{
    wide a0 = (uint64_t)a, a1 = a >> 64, b0 = (uint64_t)b, b1 = b >> 64;
    wide low = a0 * b0, m = a0 * b1, n = a1 * b0;
    wide middle = (low >> 64) + (uint64_t)m + (uint64_t)n;

    return (struct long_number){.high = a1 * b1 + (m >> 64) + (n >> 64) + (middle >> 64),
                                .low = middle << 64 | (uint64_t)low};
}

static struct long_number add_long(struct long_number a, struct long_number b)
{
    wide low = a.low + b.low;

    return (struct long_number){a.high + b.high + (low < a.low), low};
}

static struct long_number sub_long(struct long_number a, struct long_number b)
{
    return (struct long_number){a.high - b.high - (a.low < b.low), a.low - b.low};
}

static int bits_of(wide v)
{
    uint64_t high = (uint64_t)(v >> 64);

    if (high)
        return 128 - __builtin_clzll(high);
    return (uint64_t)v ? 64 - __builtin_clzll((uint64_t)v) : 0;
}

static int bits_long(struct long_number a)
{
    return a.high ? 128 + bits_of(a.high) : bits_of(a.low);
}

static wide shift_long(struct long_number a, int by)
{
    if (by == 0)
        return a.low;
    if (by >= 128)
        return by >= 256 ? 0 : a.high >> (by - 128);
    return a.high << (128 - by) | a.low >> by;
}

static wide gcd(wide a, wide b)
{
    while (b != 0) {
        wide rest;

        if (a <= UINT64_MAX && b <= UINT64_MAX)
            rest = (uint64_t)a % (uint64_t)b;
        else
            rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The quotient of two long numbers with as many bits as fit. */
static bool fit(bool negative, struct long_number above, struct long_number below, struct rule_number *out)
{
    int over = bits_long(above) > bits_long(below) ? bits_long(above) : bits_long(below);
    int by = over > BITS ? over - BITS : 0;
    wide a = shift_long(above, by), b = shift_long(below, by);

    if (b == 0)
        return false; /* beyond all bounds */
    *out = (struct rule_number){negative ? -(__int128)a : (__int128)a, (__int128)b};
    return true;
}

struct rule_number rule_number_reduced(struct rule_number a)
{
    wide g;

    assert(a.below > 0);
    if (a.below == 1)
        return a;
    g = gcd(size_of(a.above), (wide)a.below);
    return (struct rule_number){a.above / (__int128)g, a.below / (__int128)g};
}

static bool is_short(struct rule_number a)
{
    return a.above <= INT64_MAX / 2 && a.above >= INT64_MIN / 2 && a.below <= INT64_MAX / 2;
}

/* A sum whose halves may be as long as they like. */
static bool add_slowly(struct rule_number a, struct rule_number b, struct rule_number *out)
{
    struct long_number x, y, above;
    bool negative;
    wide g;

    a = rule_number_reduced(a);
    b = rule_number_reduced(b);
    g = gcd((wide)a.below, (wide)b.below);
    x = mul_long(size_of(a.above), (wide)b.below / g);
    y = mul_long(size_of(b.above), (wide)a.below / g);
    if ((a.above < 0) == (b.above < 0)) {
        above = add_long(x, y);
        negative = a.above < 0;
    } else if (cmp_long(x, y) >= 0) {
        above = sub_long(x, y);
        negative = a.above < 0;
    } else {
        above = sub_long(y, x);
        negative = b.above < 0;
    }
    return fit(negative, above, mul_long((wide)a.below, (wide)b.below / g), out);
}

bool rule_number_add(struct rule_number a, struct rule_number b, struct rule_number *out)
{
    struct rule_number sum;

    assert(a.below > 0 && b.below > 0);
    if (!is_short(a) || !is_short(b)) {
        if (!add_slowly(a, b, &sum))
            return false;
    } else if (a.below == b.below) {
        sum = (struct rule_number){a.above + b.above, a.below};
    } else {
        sum = (struct rule_number){a.above * b.below + b.above * a.below, a.below * b.below};
    }
    *out = is_short(sum) ? sum : rule_number_reduced(sum);
    return true;
}

bool rule_number_sub(struct rule_number a, struct rule_number b, struct rule_number *out)
{
    return rule_number_add(a, rule_number_neg(b), out);
}

static bool mul_slowly(struct rule_number a, struct rule_number b, struct rule_number *out)
{
    wide g = gcd(size_of(a.above), (wide)b.below), h = gcd(size_of(b.above), (wide)a.below);
    struct long_number above = mul_long(size_of(a.above) / g, size_of(b.above) / h);
    struct long_number below = mul_long((wide)a.below / h, (wide)b.below / g);

    return fit((a.above < 0) != (b.above < 0), above, below, out);
}

bool rule_number_mul(struct rule_number a, struct rule_number b, struct rule_number *out)
{
    assert(a.below > 0 && b.below > 0);
    if (a.above == 0 || b.above == 0) {
        *out = rule_number_of_int(0);
        return true;
    }
    if (!is_short(a) || !is_short(b))
        return mul_slowly(rule_number_reduced(a), rule_number_reduced(b), out);
    *out = (struct rule_number){a.above * b.above, a.below * b.below};
    if (!is_short(*out))
        *out = rule_number_reduced(*out);
    return true;
}

bool rule_number_div(struct rule_number a, struct rule_number b, struct rule_number *out)
{
    if (b.above == 0)
        return false;
    if (b.above < 0)
        return rule_number_mul(a, (struct rule_number){-b.below, -b.above}, out);
    return rule_number_mul(a, (struct rule_number){b.below, b.above}, out);
}

bool rule_number_mod(struct rule_number a, struct rule_number b, struct rule_number *out)
{
    struct rule_number times;

    if (!rule_number_div(a, b, &times) || !rule_number_mul(b, rule_number_of_int(rule_number_cut(times)), &times))
        return false;
    return rule_number_sub(a, times, out);
}

struct rule_number rule_number_neg(struct rule_number a)
{
    return (struct rule_number){-a.above, a.below};
}

int rule_number_cmp(struct rule_number a, struct rule_number b)
{
    int s = rule_number_sign(a), t = rule_number_sign(b), c;

    assert(a.below > 0 && b.below > 0);
    if (s != t)
        return s < t ? -1 : 1;
    if (is_short(a) && is_short(b)) {
        __int128 x = a.above * b.below, y = b.above * a.below;

        return (x > y) - (x < y);
    }
    c = cmp_long(mul_long(size_of(a.above), (wide)b.below), mul_long(size_of(b.above), (wide)a.below));
    return s < 0 ? -c : c;
}

__int128 rule_number_floor(struct rule_number a)
{
    return a.above / a.below - (a.above % a.below < 0);
}

/* --- text ----------------------------------------------------------------------------------------------------- */

static __int128 power_of_ten(int n)
{
    __int128 v = 1;

    assert(n >= 0 && n <= READ_DIGITS);
    for (; n > 0; n--)
        v *= 10;
    return v;
}

/* The digits of a text with a point among them. */
struct digits {
    __int128 v;
    int n, behind; /* digits that count, and those of all behind the point */
};

static bool read_digits(const char **p, const char *end, struct digits *d)
{
    bool point = false;
    const char *from = *p;

    *d = (struct digits){0};
    for (; *p < end && ((**p >= '0' && **p <= '9') || (**p == '.' && !point)); ++*p) {
        if (**p == '.') {
            point = true;
            continue;
        }
        d->behind += point;
        d->n += d->n > 0 || **p != '0';
        if (d->n > READ_DIGITS || d->behind > READ_DIGITS)
            return false;
        d->v = 10 * d->v + (**p - '0');
    }
    return *p > from + point && (!point || d->behind > 0);
}

static bool read_exponent(const char **p, const char *end, int *out)
{
    bool negative = false;
    const char *from;

    *out = 0;
    if (*p == end || (**p != 'e' && **p != 'E'))
        return true;
    ++*p;
    if (*p < end && (**p == '-' || **p == '+'))
        negative = *(*p)++ == '-';
    from = *p;
    for (; *p < end && **p >= '0' && **p <= '9'; ++*p)
        *out = *out > 1000 ? *out : 10 * *out + (**p - '0');
    if (negative)
        *out = -*out;
    return *p > from;
}

bool rule_number_read(struct str text, struct rule_number *out)
{
    const char *p = text.p, *end = str_end(text);
    bool negative = text.n > 0 && *p == '-';
    struct digits d;
    int exponent;

    if (negative)
        p++;
    if (p == end || !read_digits(&p, end, &d) || !read_exponent(&p, end, &exponent) || p != end)
        return false;
    exponent -= d.behind;
    if (d.v == 0)
        exponent = 0;
    if (exponent < -READ_DIGITS || d.n + (exponent > 0 ? exponent : 0) > READ_DIGITS)
        return false;
    if (exponent >= 0)
        *out = rule_number_of_int(d.v * power_of_ten(exponent));
    else
        *out = rule_number_reduced((struct rule_number){d.v, power_of_ten(-exponent)});
    if (negative)
        out->above = -out->above;
    return true;
}

long double rule_number_float(struct rule_number a)
{
    return (long double)a.above / (long double)a.below;
}

static void write_whole(wide v, struct buf *b)
{
    char text[48], *p = text + sizeof text;

    do {
        *--p = (char)('0' + (int)(v % 10));
        v /= 10;
    } while (v > 0);
    buf_add(b, p, (size_t)(text + sizeof text - p));
}

#define WRITE_PLACES 20

void rule_number_write(struct rule_number a, struct buf *b)
{
    char places[WRITE_PLACES];
    size_t n = 0;
    wide rest, below;

    a = rule_number_reduced(a);
    below = (wide)a.below;
    rest = size_of(a.above) % below;
    while (rest != 0 && n < sizeof places && rest <= (wide)HALF_MAX / 10) {
        rest *= 10;
        places[n++] = (char)('0' + (int)(rest / below));
        rest %= below;
    }
    if (rest != 0) {
        num_write_double(b, (double)rule_number_float(a));
        return;
    }
    if (a.above < 0)
        buf_add_char(b, '-');
    write_whole(size_of(a.above) / below, b);
    if (n > 0) {
        buf_add_char(b, '.');
        buf_add(b, places, n);
    }
}
