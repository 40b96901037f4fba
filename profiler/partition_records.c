/* The ids of profiles, and what stands on disk of a profile and of a stream. Pure. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

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

void put_text(struct buf *b, struct str id)
{
    buf_add_varint(b, str_has(id) ? id.n + 1 : 0);
    buf_add_str(b, id);
}

bool get_text(const char **p, const char *end, struct str *out)
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

bool get_uid(const char **p, const char *end, struct uid *out)
{
    if (end - *p < UID_BYTES)
        return false;
    memcpy(out->b, *p, UID_BYTES);
    *p += UID_BYTES;
    return true;
}

void put_key(struct buf *b, const struct event_key *k)
{
    buf_add_svarint(b, k->time);
    buf_add_svarint(b, k->received);
    buf_add_varint(b, k->position);
    buf_add(b, k->uid.b, UID_BYTES);
}

bool get_key(const char **p, const char *end, struct event_key *out)
{
    uint64_t position;

    if (!get_svarint(p, end, &out->time) || !get_svarint(p, end, &out->received) || !get_varint(p, end, &position) ||
        position > UINT32_MAX)
        return false;
    out->position = (uint32_t)position;
    return get_uid(p, end, &out->uid);
}

void put_version(struct buf *b, struct internal_version v)
{
    buf_add_svarint(b, v.cause);
    buf_add_varint(b, v.index);
}

bool get_version(const char **p, const char *end, struct internal_version *out)
{
    uint64_t index;

    if (!get_svarint(p, end, &out->cause) || !get_varint(p, end, &index) || index > UINT32_MAX)
        return false;
    out->index = (uint32_t)index;
    return true;
}

int profile_record_read(struct str bytes, struct profile_record *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, n;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_varint(&p, end, &n) || n > (size_t)(end - p))
        return -EIO;
    out->id = (struct str){p, (size_t)n};
    p += n;
    if (!get_svarint(&p, end, &out->version) || !profile_id_valid(out->id) || !get_text(&p, end, &out->user) ||
        !get_svarint(&p, end, &out->own_after) || !get_varint(&p, end, &n) || n > (size_t)(end - p))
        return -EIO;
    out->members = (struct str){p, (size_t)n};
    p += n;
    if (!get_varint(&p, end, &n) || n > (size_t)(end - p))
        return -EIO;
    out->traits = (struct str){p, (size_t)n};
    p += n;
    out->facts = (struct str){p, (size_t)(end - p)};
    return 0;
}

bool stream_record_write(const struct stream_id *id, struct buf *b)
{
    buf_add_varint(b, STATE_FORMAT);
    buf_add_varint(b, id->kind);
    put_text(b, id->anonymous_id);
    put_text(b, id->user_id);
    return !b->failed;
}

int stream_record_read(struct str bytes, struct stream_id *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, kind;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_varint(&p, end, &kind) ||
        kind > STREAM_PLACED || !get_text(&p, end, &out->anonymous_id) || !get_text(&p, end, &out->user_id) ||
        p != end || (!str_has(out->anonymous_id) && !str_has(out->user_id)))
        return -EIO;
    out->kind = (enum stream_kind)kind;
    return 0;
}

bool placed_event(struct str bytes, struct internal_version *version, struct str *event)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;

    if (!get_version(&p, end, version))
        return false;
    *event = p < end ? (struct str){p, (size_t)(end - p)} : STR_NONE;
    return true;
}

int text_copy(struct str from, struct str *out)
{
    char *p;

    *out = STR_NONE;
    if (!str_has(from))
        return 0;
    p = malloc(from.n + 1);
    if (!p)
        return -ENOMEM;
    if (from.n)
        memcpy(p, from.p, from.n);
    *out = (struct str){p, from.n};
    return 0;
}

/* --- members -------------------------------------------------------------------------------------------------- */

void put_members(const struct member *v, size_t n, struct buf *b)
{
    for (size_t i = 0; i < n; i++) {
        put_text(b, v[i].device);
        buf_add_varint(b, v[i].removed);
        put_version(b, v[i].version);
    }
}

static bool member_read(const char **p, const char *end, struct member *out)
{
    uint64_t removed;

    if (!get_text(p, end, &out->device) || !get_varint(p, end, &removed) || !get_version(p, end, &out->version))
        return false;
    out->removed = removed != 0;
    return true;
}

int get_members(struct str bytes, struct member **out, size_t *count)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    struct member *v = NULL, *more, m;
    size_t n = 0;
    int rc = 0;

    while (p < end && rc == 0) {
        rc = member_read(&p, end, &m) ? 0 : -EIO;
        more = rc == 0 ? realloc(v, (n + 1) * sizeof *v) : v;
        rc = rc == 0 && !more ? -ENOMEM : rc;
        v = more ? more : v;
        if (rc == 0) {
            v[n] = m;
            rc = text_copy(m.device, &v[n].device);
            n += rc == 0;
        }
    }
    if (rc < 0) {
        member_list_free(v, n);
        return rc;
    }
    *out = v;
    *count = n;
    return 0;
}

void member_list_free(struct member *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)v[i].device.p);
    free(v);
}
