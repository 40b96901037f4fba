/* The inside of JSON's tokens: UTF-8, numbers, escapes. Pure; any thread. */
#include <string.h>

#include "common/json_text.h"

/* The range of the second byte narrows for four lead bytes; that is what keeps over-long forms and surrogates out. */
static size_t lead(unsigned char c, unsigned char *low, unsigned char *high)
{
    *low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    *high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    if (c >= 0xf0 && c <= 0xf4)
        return 4;
    return 0;
}

size_t json_utf8_length(const char *p, size_t n, size_t *bad)
{
    unsigned char low, high;
    size_t length = lead((unsigned char)p[0], &low, &high);

    *bad = 1;
    if (length == 0)
        return 0;
    for (size_t i = 1; i < length; i++) {
        unsigned char c = i < n ? (unsigned char)p[i] : 0;
        if (c < low || c > high) {
            *bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xbf;
    }
    return length;
}

static size_t digits(const char *p, size_t n, size_t i)
{
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    return i;
}

/* Digits that must be there, from `i`; 0 when there are none. */
static size_t some_digits(const char *p, size_t n, size_t i)
{
    size_t end = digits(p, n, i);

    return end > i ? end : 0;
}

size_t json_number_length(const char *p, size_t n)
{
    size_t start = n > 0 && p[0] == '-', i = some_digits(p, n, start);

    if (i == 0 || (p[start] == '0' && i > start + 1))
        return 0;
    if (i < n && p[i] == '.') {
        i = some_digits(p, n, i + 1);
        if (i == 0)
            return 0;
    }
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        i++;
        if (i < n && (p[i] == '+' || p[i] == '-'))
            i++;
        i = some_digits(p, n, i);
    }
    return i;
}

/* The value of four hexadecimal digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int v = 0;

    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int c = (unsigned char)p[i], letter = c | 32;
        if (c >= '0' && c <= '9')
            v = v * 16 + (c - '0');
        else if (letter >= 'a' && letter <= 'f')
            v = v * 16 + (letter - 'a' + 10);
        else
            return -1;
    }
    return v;
}

static char *put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *to++ = (char)(0xe0 | c >> 12);
        } else {
            *to++ = (char)(0xf0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 63));
        }
        *to++ = (char)(0x80 | (c >> 6 & 63));
    }
    *to++ = (char)(0x80 | (c & 63));
    return to;
}

/* One XXXX at *s, or a pair with its other half, past the first "\\u". */
static bool unescape_unicode(char **s, const char *end, char **to)
{
    int c = hex4(*s, end), low = -1;

    if (c < 0)
        return false;
    if (c >= 0xd800 && c <= 0xdfff) {
        if (c < 0xdc00 && end - *s >= 10 && (*s)[4] == '\\' && (*s)[5] == 'u')
            low = hex4(*s + 6, end);
        if (low >= 0xdc00 && low <= 0xdfff) {
            *to = put_utf8(*to, 0x10000 + ((unsigned)(c - 0xd800) << 10) + (unsigned)(low - 0xdc00));
            *s += 10;
            return true;
        }
        memcpy(*s, "fffd", 4);
        c = 0xfffd;
    }
    *to = put_utf8(*to, (unsigned)c);
    *s += 4;
    return true;
}

/* One escape at *s, past the backslash. */
static bool unescape_one(char **s, const char *end, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    const char *found;
    char c;

    if (*s == end)
        return false;
    c = *(*s)++;
    if (c == 'u')
        return unescape_unicode(s, end, to);
    found = memchr(from, c, sizeof from - 1);
    if (!found)
        return false;
    *(*to)++ = into[found - from];
    return true;
}

bool json_unescape(char *s, size_t n, size_t backslash, char *to, size_t *written, size_t *bad)
{
    char *p = s, *end = s + n, *escape = s + backslash, *start = to;

    while (escape) {
        memcpy(to, p, (size_t)(escape - p));
        to += escape - p;
        p = escape + 1;
        if (!unescape_one(&p, end, &to)) {
            *bad = (size_t)(escape - s);
            return false;
        }
        escape = memchr(p, '\\', (size_t)(end - p));
    }
    memcpy(to, p, (size_t)(end - p));
    to += end - p;
    *written = (size_t)(to - start);
    return true;
}
