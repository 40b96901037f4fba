/* The ids of profiles, and what stands on disk of a profile and of a stream. Pure. */
#include <assert.h>
#include <errno.h>

#include "profiler/state_private.h"

/* --- ids ------------------------------------------------------------------------------------------------------ */

struct str profile_id(struct str anonymous_id, struct str user_id, char *buf)
{
    struct str id = str_has(user_id) ? user_id : anonymous_id;

    assert(str_has(id) && id.n <= KEY_ID_MAX_BYTES);
    memcpy(buf, str_has(user_id) ? "user:" : "anon:", PROFILE_KIND_BYTES);
    if (id.n)
        memcpy(buf + PROFILE_KIND_BYTES, id.p, id.n);
    return (struct str){buf, PROFILE_KIND_BYTES + id.n};
}

bool profile_id_valid(struct str id)
{
    return (str_starts(id, STR_LIT("user:")) || str_starts(id, STR_LIT("anon:"))) &&
           id.n <= PROFILE_KIND_BYTES + KEY_ID_MAX_BYTES;
}

struct str profile_log_key(struct str id)
{
    assert(id.n >= PROFILE_KIND_BYTES);
    return (struct str){id.p + PROFILE_KIND_BYTES, id.n - PROFILE_KIND_BYTES};
}

struct str profile_sibling(struct str id, char *buf)
{
    struct str key = profile_log_key(id);

    return id.p[0] == 'u' ? profile_id(key, STR_NONE, buf) : profile_id(STR_NONE, key, buf);
}

/* --- records -------------------------------------------------------------------------------------------------- */

int profile_record_read(struct str bytes, struct profile_record *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, n;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_varint(&p, end, &n) || n > (size_t)(end - p))
        return -EIO;
    out->id = (struct str){p, (size_t)n};
    p += n;
    if (!get_svarint(&p, end, &out->version) || !profile_id_valid(out->id))
        return -EIO;
    out->facts = (struct str){p, (size_t)(end - p)};
    return 0;
}

static void put_id(struct buf *b, struct str id)
{
    buf_add_varint(b, str_has(id) ? id.n + 1 : 0);
    buf_add_str(b, id);
}

bool stream_record_write(struct str anonymous_id, struct str user_id, struct buf *b)
{
    buf_add_varint(b, STATE_FORMAT);
    put_id(b, anonymous_id);
    put_id(b, user_id);
    return !b->failed;
}

static bool get_id(const char **p, const char *end, struct str *out)
{
    uint64_t n;

    *out = STR_NONE;
    if (!get_varint(p, end, &n) || n > KEY_ID_MAX_BYTES + 1 || (n > 0 && n - 1 > (size_t)(end - *p)))
        return false;
    if (n > 0) {
        *out = (struct str){*p, (size_t)n - 1};
        *p += n - 1;
    }
    return true;
}

int stream_record_read(struct str bytes, struct str *anonymous_id, struct str *user_id)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_id(&p, end, anonymous_id) ||
        !get_id(&p, end, user_id) || p != end || (!str_has(*anonymous_id) && !str_has(*user_id)))
        return -EIO;
    return 0;
}
