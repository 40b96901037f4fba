/* Exact decimal arithmetic on the text of numbers, and the text of amounts and doubles. Pure; the process stays in the
 * C locale. */
#include "common/num.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/num_text.h"

/* Exponents saturate here: greater in size than any text is long, so that nothing changes by it. */
#define EXPONENT_CAP INT64_C(1000000000000000)

/* A number as written: the digits before and behind the point, and the exponent. */
struct decimal {
    bool negative;
    bool has_exponent;
    const char *whole, *fraction;
    int64_t whole_n, fraction_n;
    int64_t exponent;
};

static int64_t skip_digits(const char **p, const char *end)
{
    const char *from = *p;

    while (*p < end && **p >= '0' && **p <= '9')
        ++*p;
    return *p - from;
}

static bool read_exponent(const char **p, const char *end, int64_t *out)
{
    bool negative = *p < end && **p == '-';
    int64_t v = 0;

    if (*p < end && (**p == '-' || **p == '+'))
        ++*p;
    const char *digits = *p;
    int64_t n = skip_digits(p, end);
    for (int64_t i = 0; i < n && v < EXPONENT_CAP; i++)
        v = 10 * v + (digits[i] - '0');
    if (v > EXPONENT_CAP)
        v = EXPONENT_CAP;
    *out = negative ? -v : v;
    return n > 0;
}

static bool read_decimal(struct str text, struct decimal *d)
{
    const char *p = text.p, *end = str_end(text);

    *d = (struct decimal){.negative = text.n > 0 && *p == '-'};
    if (d->negative)
        p++;
    d->whole = p;
    d->whole_n = skip_digits(&p, end);
    if (d->whole_n == 0)
        return false;
    if (p < end && *p == '.') {
        d->fraction = ++p;
        d->fraction_n = skip_digits(&p, end);
        if (d->fraction_n == 0)
            return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        d->has_exponent = true;
        if (!read_exponent(&p, end, &d->exponent))
            return false;
    }
    return p == end;
}

/* The i-th digit as written; 0 past the last one. */
static unsigned digit_at(const struct decimal *d, int64_t i)
{
    if (i < d->whole_n)
        return (unsigned)(d->whole[i] - '0');
    i -= d->whole_n;
    return i < d->fraction_n ? (unsigned)(d->fraction[i] - '0') : 0;
}

static bool digits_left(const struct decimal *d, int64_t from)
{
    for (int64_t i = from < 0 ? 0 : from; i < d->whole_n + d->fraction_n; i++)
        if (digit_at(d, i) != 0)
            return true;
    return false;
}

/* The digits from the first that is not 0 up to `cut`, as a whole number; false when they are more than 19. */
static bool take_digits(const struct decimal *d, int64_t cut, uint64_t *out)
{
    int64_t first = 0, written = d->whole_n + d->fraction_n;

    *out = 0;
    while (first < written && digit_at(d, first) == 0)
        first++;
    if (first == written)
        return true;
    if (cut - first > 19) /* 10^19 and one fit into 64 bits */
        return false;
    for (int64_t i = first; i < cut; i++)
        *out = 10 * *out + digit_at(d, i);
    return true;
}

static int scale(const struct decimal *d, int decimals, enum num_round round, int64_t max, int64_t *out)
{
    uint64_t v;
    int64_t cut = d->whole_n + d->exponent + decimals; /* digits before it make the result */

    assert(max >= 0);
    if (round == NUM_EXACT && digits_left(d, cut))
        return NUM_BAD;
    if (!take_digits(d, cut, &v))
        return NUM_RANGE;
    if (round == NUM_HALF_AWAY && cut >= 0 && digit_at(d, cut) >= 5)
        v++;
    if (round == NUM_FLOOR && d->negative && digits_left(d, cut))
        v++;
    if (v > (uint64_t)max)
        return NUM_RANGE;
    *out = d->negative ? -(int64_t)v : (int64_t)v;
    return NUM_OK;
}

int num_scaled(struct str text, int decimals, enum num_round round, int64_t max, int64_t *out)
{
    struct decimal d;

    return read_decimal(text, &d) ? scale(&d, decimals, round, max, out) : NUM_BAD;
}

int num_micros(struct str text, bool strict, int64_t *out)
{
    struct decimal d;

    if (!read_decimal(text, &d) || (strict && (d.has_exponent || d.fraction_n > 6)))
        return NUM_BAD;
    return scale(&d, 6, NUM_HALF_AWAY, LIMIT_AMOUNT * MICROS, out);
}

int num_integer(struct str text, int64_t max, int64_t *out)
{
    return num_scaled(text, 0, NUM_EXACT, max, out);
}

int num_u64(struct str text, uint64_t *out)
{
    uint64_t v = 0;

    if (text.n == 0)
        return NUM_BAD;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return NUM_BAD;
    for (size_t i = 0; i < text.n; i++) {
        unsigned digit = (unsigned)(text.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return NUM_RANGE;
        v = 10 * v + digit;
    }
    *out = v;
    return NUM_OK;
}

/* Digits before `end`; returns where they begin. Few amounts need 128 bits, and dividing those is slow. */
static char *put_whole(char *end, unsigned __int128 v)
{
    for (; v > UINT64_MAX; v /= 10)
        *--end = (char)('0' + (unsigned)(v % 10));
    uint64_t small = (uint64_t)v;
    do {
        *--end = (char)('0' + small % 10);
        small /= 10;
    } while (small > 0);
    return end;
}

void num_write_micros(struct buf *b, money micros)
{
    unsigned __int128 v = micros < 0 ? -(unsigned __int128)micros : (unsigned __int128)micros;
    uint32_t fraction = (uint32_t)(v % MICROS);
    char text[48]; /* 39 digits, sign, point */
    char *p = text + sizeof text;

    if (fraction) {
        int digits = 6;
        for (; fraction % 10 == 0; fraction /= 10)
            digits--;
        for (; digits > 0; digits--, fraction /= 10)
            *--p = (char)('0' + fraction % 10);
        *--p = '.';
    }
    p = put_whole(p, v / MICROS);
    if (micros < 0)
        *--p = '-';
    buf_add(b, p, (size_t)(text + sizeof text - p));
}

void num_write_int(struct buf *b, int64_t v)
{
    char text[24], *end = text + sizeof text;
    uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
    char *p = put_whole(end, size);

    if (v < 0)
        *--p = '-';
    buf_add(b, p, (size_t)(end - p));
}

/* The last digit of "d.ddde±xx" one up in size; a carry out of the first digit is given up. */
static bool bump(char *text)
{
    char *p = strchr(text, 'e');

    assert(p);
    while (p > text) {
        p--;
        if (*p == '.' || *p == '-')
            continue;
        if (*p != '9') {
            ++*p;
            return true;
        }
        *p = '0';
    }
    return false;
}

/* The fewest digits that read back, in the form "d.ddde±xx". Beside the nearest decimal of each length the next one up
 * is tried: below a power of two the doubles are closer together than above it. */
static void shortest(double v, char *text, size_t size)
{
    /* Of a normal double every text up to 15 digits that reads back is the nearest one of 15, less its zeros. */
    for (int digits = isnormal(v) ? 15 : 1; digits <= 17; digits++) {
        snprintf(text, size, "%.*e", digits - 1, v);
        if (strtod(text, NULL) == v)
            return;
        if (bump(text) && strtod(text, NULL) == v)
            return;
    }
}

/* Digits without point and trailing zeros out of "d.ddde±xx"; the power of ten of the first. */
static size_t pick_digits(const char *text, char *digits, int *power)
{
    size_t n = 0;

    for (; *text != 'e'; text++)
        if (*text != '.')
            digits[n++] = *text;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    *power = (int)strtol(text + 1, NULL, 10);
    return n;
}

static void write_plain(struct buf *b, const char *digits, int n, int power)
{
    if (power < 0)
        buf_addf(b, "0.%.*s%.*s", -power - 1, "000000", n, digits);
    else if (n <= power + 1)
        buf_addf(b, "%.*s%.*s", n, digits, power + 1 - n, "00000000000000000000");
    else
        buf_addf(b, "%.*s.%.*s", power + 1, digits, n - power - 1, digits + power + 1);
}

void num_write_double(struct buf *b, double v)
{
    char text[40], digits[40];
    int power;

    if (!isfinite(v)) {
        buf_add_text(b, "null");
        return;
    }
    if (v == 0) { /* the sign of a zero tells nobody anything */
        buf_add_char(b, '0');
        return;
    }
    if (v < 0)
        buf_add_char(b, '-');
    shortest(fabs(v), text, sizeof text);
    int n = (int)pick_digits(text, digits, &power);
    if (power >= -7 && power < 21)
        write_plain(b, digits, n, power);
    else if (n == 1)
        buf_addf(b, "%ce%d", digits[0], power);
    else
        buf_addf(b, "%c.%.*se%d", digits[0], n - 1, digits + 1, power);
}
