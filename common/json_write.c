/* Writing JSON: strings and keys, appended to a buffer. Pure; any thread. */
#include "common/json.h"
#include "common/json_text.h"

static void write_escape(struct buf *b, unsigned char c)
{
    static const char letters[] = "btn\0fr"; /* U+0008 to U+000D; U+000B has no letter */

    if (c == '"' || c == '\\')
        buf_addf(b, "\\%c", c);
    else if (c >= 8 && c <= 13 && letters[c - 8])
        buf_addf(b, "\\%c", letters[c - 8]);
    else
        buf_addf(b, "\\u%04x", c);
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

void json_write_str(struct buf *b, struct str s)
{
    size_t i = 0;

    buf_add_char(b, '"');
    while (i < s.n) {
        size_t start = i, length, bad;

        while (i < s.n && is_plain((unsigned char)s.p[i]))
            i++;
        buf_add(b, s.p + start, i - start);
        if (i == s.n)
            break;
        if ((unsigned char)s.p[i] < 0x80) {
            write_escape(b, (unsigned char)s.p[i++]);
            continue;
        }
        length = json_utf8_length(s.p + i, s.n - i, &bad);
        if (length > 0)
            buf_add(b, s.p + i, length);
        else
            buf_add_text(b, "\xef\xbf\xbd");
        i += length > 0 ? length : bad;
    }
    buf_add_char(b, '"');
}

void json_write_key(struct buf *b, const char *key)
{
    if (b->n > 0 && b->p[b->n - 1] != '{')
        buf_add_char(b, ',');
    buf_add_char(b, '"');
    buf_add_text(b, key);
    buf_add(b, "\":", 2);
}

void json_write_member(struct buf *b, const char *key, struct str s)
{
    if (!str_has(s))
        return;
    json_write_key(b, key);
    json_write_str(b, s);
}
