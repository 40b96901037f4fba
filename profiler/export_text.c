/* Characters of texts for exports. Lower case is that of Latin, Greek, Cyrillic and Armenian, as far as one character
 * becomes one; no locale has a say. Pure; any thread. */
#include "profiler/export_text.h"

#include "common/json_text.h"

#define REPLACEMENT 0xFFFD

uint32_t text_char(struct str s, size_t *length)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t bad, n = json_utf8_length(s.p, s.n, &bad);

    *length = n ? n : 1;
    switch (n) {
    case 1:
        return p[0];
    case 2:
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    case 3:
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    case 4:
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 | (uint32_t)(p[2] & 0x3f) << 6 |
               (p[3] & 0x3f);
    default:
        return REPLACEMENT;
    }
}

static bool between(uint32_t c, uint32_t first, uint32_t last)
{
    return c >= first && c <= last;
}

/* Where capital and small letters take turns: whether the even ones are the capitals. */
static uint32_t lower_latin(uint32_t c)
{
    if (c == 0x130) /* İ */
        return 'i';
    if (c == 0x178) /* Ÿ */
        return 0xff;
    if (between(c, 0x139, 0x148) || between(c, 0x179, 0x17e))
        return c % 2 ? c + 1 : c;
    if (between(c, 0x100, 0x137) || between(c, 0x14a, 0x177) || between(c, 0x1e00, 0x1e95) ||
        between(c, 0x1ea0, 0x1eff))
        return c % 2 ? c : c + 1;
    return c;
}

uint32_t text_lower(uint32_t c)
{
    if (c < 0x80)
        return between(c, 'A', 'Z') ? c + 32 : c;
    if (between(c, 0xc0, 0xde) && c != 0xd7)
        return c + 32;
    if (between(c, 0x391, 0x3a9) || between(c, 0x410, 0x42f) || between(c, 0xff21, 0xff3a))
        return c + 32;
    if (between(c, 0x400, 0x40f))
        return c + 80;
    if (between(c, 0x460, 0x481) || between(c, 0x48a, 0x4bf) || between(c, 0x4d0, 0x52f))
        return c % 2 ? c : c + 1;
    if (between(c, 0x531, 0x556))
        return c + 48;
    if (c == 0x386)
        return 0x3ac;
    if (between(c, 0x388, 0x38a))
        return c + 37;
    return lower_latin(c);
}

bool text_blank(uint32_t c)
{
    return c == ' ' || between(c, '\t', '\r') || c == 0x85 || c == 0xa0 || c == 0x1680 || between(c, 0x2000, 0x200d) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x2060 || c == 0x3000 || c == 0xfeff;
}

bool text_digit(uint32_t c)
{
    return between(c, '0', '9');
}

bool text_punctuation(uint32_t c)
{
    if (c < 0x80)
        return !(text_digit(c) || between(c, 'a', 'z') || between(c, 'A', 'Z') || text_blank(c));
    return (between(c, 0x80, 0xbf) && c != 0xaa && c != 0xba) || c == 0xd7 || c == 0xf7 || between(c, 0x2010, 0x206f) ||
           between(c, 0x3001, 0x3003) || between(c, 0x3008, 0x3011) || c == 0x30fb || between(c, 0xff01, 0xff0f) ||
           c == REPLACEMENT;
}

struct str text_trim(struct str s)
{
    size_t n;

    while (s.n > 0 && text_blank(text_char(s, &n)))
        s = (struct str){s.p + n, s.n - n};
    while (s.n > 0) {
        size_t back = 1;

        while (back < s.n && back < 4 && ((unsigned char)s.p[s.n - back] & 0xc0) == 0x80)
            back++;
        if (!text_blank(text_char((struct str){s.p + s.n - back, back}, &n)) || n != back)
            break;
        s.n -= back;
    }
    return s;
}

struct text text_begin(struct arena *a, size_t n)
{
    /* No letter grows by being small but those of two bytes that become three, and bad bytes, which become three. */
    return (struct text){arena_alloc(a, 3 * n + 4), 0};
}

void text_put(struct text *t, uint32_t c)
{
    if (!t->p)
        return;
    char *p = t->p + t->n;

    if (c < 0x80) {
        p[0] = (char)c;
        t->n += 1;
    } else if (c < 0x800) {
        p[0] = (char)(0xc0 | c >> 6);
        p[1] = (char)(0x80 | (c & 0x3f));
        t->n += 2;
    } else if (c < 0x10000) {
        p[0] = (char)(0xe0 | c >> 12);
        p[1] = (char)(0x80 | (c >> 6 & 0x3f));
        p[2] = (char)(0x80 | (c & 0x3f));
        t->n += 3;
    } else {
        p[0] = (char)(0xf0 | c >> 18);
        p[1] = (char)(0x80 | (c >> 12 & 0x3f));
        p[2] = (char)(0x80 | (c >> 6 & 0x3f));
        p[3] = (char)(0x80 | (c & 0x3f));
        t->n += 4;
    }
}

struct str text_end(struct text *t)
{
    return t->p && t->n ? (struct str){t->p, t->n} : STR_NONE;
}
