/* Full numbers of cards. Pure; any thread. */
#include "collector/privacy.h"

#define DIGITS_LEAST 13
#define DIGITS_MOST 19

/* The digit at p, of `n` > 0 bytes, and its length: ASCII or full width. -1 for none. */
static int digit_at(const char *p, size_t n, size_t *length)
{
    const unsigned char *u = (const unsigned char *)p;

    *length = 1;
    if (*p >= '0' && *p <= '9')
        return *p - '0';
    if (n >= 3 && u[0] == 0xef && u[1] == 0xbc && u[2] >= 0x90 && u[2] <= 0x99) {
        *length = 3;
        return u[2] - 0x90;
    }
    return -1;
}

/* Bytes of the mark at p that people put between the digits of a number; 0 for none. */
static size_t mark_at(const char *p, size_t n)
{
    static const char *const marks[] = {" ",
                                        "-",
                                        ".",
                                        "_",
                                        "/",
                                        ",",
                                        "\t",
                                        "*",
                                        ":",
                                        "\xc2\xa0",
                                        "\xc2\xb7",
                                        "\xe2\x80\x90",
                                        "\xe2\x80\x91",
                                        "\xe2\x80\x92",
                                        "\xe2\x80\x93",
                                        "\xe2\x80\x94",
                                        "\xe2\x80\x89",
                                        "\xe2\x80\xaf",
                                        "\xe2\x80\x8b",
                                        "\xe3\x80\x80",
                                        "\xef\xbc\x8d"};

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t length = strlen(marks[i]);
        if (length <= n && memcmp(p, marks[i], length) == 0)
            return length;
    }
    return 0;
}

/* Luhn: from the right every second digit counts twice. */
static bool checks(const unsigned char *digits, size_t n)
{
    unsigned sum = 0;
    bool twice = false, any = false;

    for (size_t i = n; i > 0; i--, twice = !twice) {
        unsigned d = digits[i - 1];
        any |= d != 0;
        d *= twice ? 2 : 1;
        sum += d > 9 ? d - 9 : d;
    }
    return any && sum % 10 == 0;
}

/* A run of digits with marks between them, up to two in a row. */
#define RUN_DIGITS 64
struct run {
    unsigned char digit[RUN_DIGITS];
    bool first[RUN_DIGITS + 1]; /* of a group: a mark or nothing stands before it */
    size_t n;
};

/* Reads the run that begins at p; returns where it ends. A longer one is read in pieces, each beginning with a group.
 */
static const char *run_read(const char *p, const char *end, struct run *r)
{
    bool first = true;
    size_t length, marks = 0, mark;

    r->n = 0;
    while (p < end && r->n < RUN_DIGITS) {
        int d = digit_at(p, (size_t)(end - p), &length);
        if (d >= 0) {
            r->first[r->n] = first;
            r->digit[r->n++] = (unsigned char)d;
            first = false;
            marks = 0;
            p += length;
        } else if (marks < 2 && (mark = mark_at(p, (size_t)(end - p))) > 0) {
            first = true;
            marks++;
            p += mark;
        } else {
            break;
        }
    }
    r->first[r->n] = true;
    return p;
}

/* Whole groups only: a number in the middle of more digits is none. */
static bool run_has_card(const struct run *r)
{
    for (size_t from = 0; from < r->n; from++)
        for (size_t n = DIGITS_LEAST; r->first[from] && n <= DIGITS_MOST && from + n <= r->n; n++)
            if (r->first[from + n] && checks(r->digit + from, n))
                return true;
    return false;
}

bool privacy_card(struct str text)
{
    const char *p = text.p, *end = str_end(text);
    size_t length;
    struct run r;

    while (text.n >= DIGITS_LEAST && p < end) {
        if (digit_at(p, (size_t)(end - p), &length) < 0) {
            p++;
            continue;
        }
        p = run_read(p, end, &r);
        if (r.n >= DIGITS_LEAST && run_has_card(&r))
            return true;
    }
    return false;
}

static unsigned head_of(const struct run *r, size_t n)
{
    unsigned v = 0;

    for (size_t i = 0; i < n; i++)
        v = 10 * v + r->digit[i];
    return v;
}

static bool of_large_network(const struct run *r)
{
    unsigned two = head_of(r, 2), four = head_of(r, 4);

    if (r->n == 15)
        return two == 34 || two == 37;
    return r->n == 16 && (r->digit[0] == 4 || (two >= 51 && two <= 55) || (four >= 2221 && four <= 2720) || two == 62 ||
                          two == 65 || four == 6011 || (four >= 3528 && four <= 3589));
}

static bool written_as_card(const struct run *r)
{
    size_t groups = 0;

    for (size_t i = 0; i < r->n; i++)
        groups += r->first[i];
    return (r->n == 16 && groups == 4 && r->first[4] && r->first[8] && r->first[12]) ||
           (r->n == 15 && groups == 3 && r->first[4] && r->first[10]);
}

bool privacy_card_alone(struct str text)
{
    struct run r;
    size_t length;

    text = str_trim(text);
    if (text.n < DIGITS_LEAST || digit_at(text.p, text.n, &length) < 0)
        return false;
    if (run_read(text.p, str_end(text), &r) != str_end(text))
        return false;
    return r.n >= DIGITS_LEAST && r.n <= DIGITS_MOST && checks(r.digit, r.n) &&
           (of_large_network(&r) || written_as_card(&r));
}
