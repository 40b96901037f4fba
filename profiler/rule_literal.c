/* Constants in the text of a rule: numbers, exactly, and the escapes of strings. Pure; any thread. */
#include "profiler/rule_lex.h"
#include "profiler/rule_number.h"

/* What rule_number_read reads. */
#define DIGITS 36

static __int128 power_of_ten(unsigned n)
{
    __int128 v = 1;

    while (n-- > 0)
        v *= 10;
    return v;
}

bool rule_decimal(struct rule_number v, unsigned *places, __int128 *digits)
{
    for (*places = 0; *places <= DIGITS; ++*places) {
        __int128 scale = power_of_ten(*places);
        if (scale % v.below == 0)
            return !__builtin_mul_overflow(v.above < 0 ? -v.above : v.above, scale / v.below, digits) &&
                   *digits < power_of_ten(DIGITS);
    }
    return false;
}

bool rule_number_writable(struct rule_number v)
{
    const __int128 limit = power_of_ten(DIGITS);
    unsigned places;
    __int128 digits;

    if (v.above <= -limit || v.above >= limit || v.below >= limit)
        return false;
    return rule_decimal(v, &places, &digits) || places > DIGITS;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_hex(struct str text, struct rule_number *out)
{
    *out = (struct rule_number){0, 1};
    for (size_t i = 2; i < text.n; i++) {
        out->above = out->above * 16 + hex_digit(text.p[i]);
        if (!rule_number_writable(*out))
            return false;
    }
    return true;
}

bool rule_read_number(struct str text, struct rule_number *out)
{
    if (text.n > 2 && text.p[0] == '0' && (text.p[1] == 'x' || text.p[1] == 'X'))
        return read_hex(text, out);
    return rule_number_read(text, out);
}

/* A code point as UTF-8; never longer than the escape that it comes from. */
static bool put_character(uint32_t c, char *to, size_t *n)
{
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return false;
    if (c < 0x80) {
        to[(*n)++] = (char)c;
    } else if (c < 0x800) {
        to[(*n)++] = (char)(0xc0 | c >> 6);
        to[(*n)++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        to[(*n)++] = (char)(0xe0 | c >> 12);
        to[(*n)++] = (char)(0x80 | (c >> 6 & 0x3f));
        to[(*n)++] = (char)(0x80 | (c & 0x3f));
    } else {
        to[(*n)++] = (char)(0xf0 | c >> 18);
        to[(*n)++] = (char)(0x80 | (c >> 12 & 0x3f));
        to[(*n)++] = (char)(0x80 | (c >> 6 & 0x3f));
        to[(*n)++] = (char)(0x80 | (c & 0x3f));
    }
    return true;
}

/* `count` digits to the base `base` from *i on. */
static bool read_code(struct str text, size_t *i, size_t count, int base, uint32_t *out)
{
    *out = 0;
    for (size_t k = 0; k < count; k++, ++*i) {
        int digit = *i < text.n ? hex_digit(text.p[*i]) : -1;
        if (digit < 0 || digit >= base)
            return false;
        *out = *out * (uint32_t)base + (uint32_t)digit;
    }
    return true;
}

/* The character behind a backslash, at *i; moves past it. */
static bool read_escape(struct str text, size_t *i, uint32_t *out)
{
    static const char letters[] = "abfnrtv\\?\"'`", values[] = "\a\b\f\n\r\t\v\\?\"'`";
    char c = *i < text.n ? text.p[(*i)++] : '\0';
    const char *letter = c ? strchr(letters, c) : NULL;

    if (letter) {
        *out = (uint32_t)(unsigned char)values[letter - letters];
        return true;
    }
    if (c == 'x' || c == 'X')
        return read_code(text, i, 2, 16, out);
    if (c == 'u')
        return read_code(text, i, 4, 16, out);
    if (c == 'U')
        return read_code(text, i, 8, 16, out);
    if (c < '0' || c > '3')
        return false;
    --*i;
    return read_code(text, i, 3, 8, out);
}

char *rule_read_escapes(struct str text, char *to, size_t *n, size_t *bad)
{
    *n = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t c;
        size_t backslash = i;
        if (text.p[i] != '\\') {
            to[(*n)++] = text.p[i++];
            continue;
        }
        i++;
        if (!read_escape(text, &i, &c) || !put_character(c, to, n)) {
            *bad = backslash;
            return NULL;
        }
    }
    return to;
}
