/* Paths of requests, split before they are decoded. Pure; any thread. */
#include "common/http.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes one segment; false for a '%' without two digits behind it, or when memory is out. */
static bool decode(struct str raw, struct arena *a, struct str *out)
{
    char *to;

    if (raw.n == 0 || !memchr(raw.p, '%', raw.n)) {
        *out = raw;
        return true;
    }
    to = arena_alloc(a, raw.n);
    if (!to)
        return false;
    out->p = to;
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] != '%') {
            *to++ = raw.p[i];
            continue;
        }
        int high = i + 1 < raw.n ? hex(raw.p[i + 1]) : -1, low = i + 2 < raw.n ? hex(raw.p[i + 2]) : -1;
        if (high < 0 || low < 0)
            return false;
        *to++ = (char)(high * 16 + low);
        i += 2;
    }
    out->n = (size_t)(to - out->p);
    return true;
}

int http_path_segments(struct str raw, struct arena *a, struct str *out, size_t max)
{
    size_t count = 0, i = 0;

    if (raw.n == 0 || raw.p[0] != '/')
        return -1;
    while (i < raw.n && raw.n > 1) {
        const char *start = raw.p + i + 1;
        const char *slash = memchr(start, '/', raw.n - i - 1);
        size_t n = slash ? (size_t)(slash - start) : raw.n - i - 1;

        if (count == max || !decode((struct str){start, n}, a, &out[count]))
            return -1;
        count++;
        i += n + 1;
    }
    return (int)count;
}

void http_encode_segment(struct buf *b, struct str s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

    for (size_t i = 0; i < s.n; i++) {
        if (memchr(plain, s.p[i], sizeof plain - 1))
            buf_add_char(b, s.p[i]);
        else
            buf_addf(b, "%%%02X", (unsigned char)s.p[i]);
    }
}
