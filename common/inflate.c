/* Compressed bodies: the only zlib file of the common part. The caller's thread. */
#include "common/inflate.h"

#include <assert.h>
#include <errno.h>
#include <zlib.h>

#include "common/json.h"
#include "common/limits.h"

#define EITHER_FORMAT 32 /* added to the window's bits: gzip or zlib, by the first bytes */

static unsigned char byte_at(struct str s, size_t i)
{
    return i < s.n ? (unsigned char)s.p[i] : 0;
}

static bool is_gzip(struct str in)
{
    return byte_at(in, 0) == 0x1f && byte_at(in, 1) == 0x8b && byte_at(in, 2) == 8;
}

bool inflate_wanted(struct str in)
{
    unsigned char level = byte_at(in, 1);

    /* "x^" begins a zlib stream too, and a text: left alone. */
    return is_gzip(in) || (byte_at(in, 0) == 0x78 && in.n > 1 && (level == 0x01 || level == 0x9c || level == 0xda));
}

/* Grows by doubling, a byte past the limit at most, so that one byte too many is seen. */
static int make_room(struct buf *out, size_t max_out, z_stream *z)
{
    size_t want = out->n < 8 * KIB ? 16 * KIB : out->n;
    size_t left = max_out + 1 - out->n;

    if (want > left)
        want = left;
    if (!buf_room(out, want - 1 + JSON_PADDING))
        return -ENOMEM;
    z->next_out = (Bytef *)out->p + out->n;
    z->avail_out = (uInt)want;
    return 0;
}

/* What follows a whole stream: nothing, zeros as padding, or another member of a gzip file (*more). */
static int look_behind(z_stream *z, bool gzip, bool *more)
{
    struct str rest = {(const char *)z->next_in, z->avail_in};

    *more = gzip && is_gzip(rest);
    if (*more)
        return inflateReset(z) == Z_OK ? 0 : INFLATE_INVALID;
    for (size_t i = 0; i < rest.n; i++) {
        if (rest.p[i] != 0)
            return INFLATE_INVALID;
    }
    return 0;
}

static int run(z_stream *z, bool gzip, size_t max_out, struct buf *out)
{
    bool more = true;

    while (more) {
        int r = make_room(out, max_out, z), code;
        if (r != 0)
            return r;
        uInt room = z->avail_out;
        code = inflate(z, Z_NO_FLUSH);
        out->n += room - z->avail_out;
        if (out->n > max_out)
            return INFLATE_TOO_LARGE;
        if (code == Z_MEM_ERROR)
            return -ENOMEM;
        if (code == Z_STREAM_END)
            r = look_behind(z, gzip, &more);
        else if (code != Z_OK || (z->avail_in == 0 && z->avail_out > 0))
            r = INFLATE_INVALID;
        if (r != 0)
            return r;
    }
    return INFLATE_OK;
}

int inflate_all(struct str in, size_t max_out, struct buf *out)
{
    z_stream z = {.next_in = (Bytef *)(size_t)in.p, .avail_in = (uInt)in.n};
    int r;

    assert(out->max >= max_out + JSON_PADDING && max_out < UINT32_MAX);
    if (in.n > UINT32_MAX)
        return INFLATE_TOO_LARGE;
    buf_reset(out);
    if (inflateInit2(&z, MAX_WBITS + EITHER_FORMAT) != Z_OK)
        return -ENOMEM;
    r = run(&z, is_gzip(in), max_out, out);
    inflateEnd(&z);
    return r;
}
