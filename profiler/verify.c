/* Walks a committed state and says where it contradicts itself. One thread; nobody folds meanwhile. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"
#include "profiler/verify.h"
#include "proto/codec.h"

enum { SAID_AT_MOST = 1000, LINE_BYTES = 512 };

void verify_say(struct verify *v, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    int n;

    if (v->report->differences++ >= SAID_AT_MOST || !v->say)
        return;
    n = snprintf(line, sizeof line, "partition %u: ", (unsigned)v->partition);
    va_start(args, format);
    vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    va_end(args);
    v->say(v->arg, line);
}

/* --- streams -------------------------------------------------------------------------------------------------- */

struct chunk_check {
    struct verify *v;
    const char *stream; /* its name for people */
    struct uidset uids;
    size_t entries, gone;
    int64_t last; /* key of the ordinary chunk before this one */
};

static void check_chunk_times(struct chunk_check *c, const struct key_place *place, int64_t first, int64_t last)
{
    if (last > place->time)
        verify_say(c->v, "stream %s: a chunk holds an event later than its key says", c->stream);
    if (place->kind == KEY_LATE && (uint64_t)place->time - (uint64_t)first > (uint64_t)LATE_SPAN_MS)
        verify_say(c->v, "stream %s: a late chunk spans too long a time", c->stream);
    if (place->kind == KEY_CHUNK && first < c->last)
        verify_say(c->v, "stream %s: two chunks overlap", c->stream);
    if (place->kind == KEY_CHUNK)
        c->last = place->time;
}

static int check_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct chunk_check *c = arg;
    struct chunk_reader r;
    struct chunk_entry e;
    struct event_key before;
    int64_t first = TIME_NONE;
    bool any = false;

    if (place->commit > c->v->p->commit)
        verify_say(c->v, "stream %s: a chunk of a later commit", c->stream);
    if (!chunk_open(value, &r) || r.left == 0) {
        verify_say(c->v, "stream %s: a chunk cannot be read", c->stream);
        return 0;
    }
    while (chunk_next(&r, &e)) {
        struct uid_times t = {e.key.uid, e.key.time, e.key.received};

        if (uidset_find(&c->uids, &e.key.uid))
            verify_say(c->v, "stream %s: an event stands twice", c->stream);
        if (any && event_key_cmp(&before, &e.key) >= 0)
            verify_say(c->v, "stream %s: a chunk is out of order", c->stream);
        if (uidset_put(&c->uids, &t) < 0)
            return -ENOMEM;
        first = any ? first : e.key.time;
        before = e.key;
        any = true;
        c->entries++;
        c->gone += (e.flags & ENTRY_GONE) != 0;
    }
    if (any)
        check_chunk_times(c, place, first, before.time);
    return 0;
}

static void compare_uids(struct chunk_check *c, const struct uidset *kept)
{
    const struct uid_times *t, *other;
    size_t i = 0;

    if (kept->count != c->uids.count)
        verify_say(c->v, "stream %s: %zu uids kept for %zu events", c->stream, kept->count, c->uids.count);
    while ((t = uidset_next(&c->uids, &i)) != NULL) {
        other = uidset_find(kept, &t->uid);
        if (!other || other->time != t->time || other->received != t->received) {
            verify_say(c->v, "stream %s: uids and events differ", c->stream);
            return;
        }
    }
}

/* The chunks of a stream agree with each other and with its uids. */
static int check_chunks(struct verify *v, const struct stream_id *id, struct key_hash hash, const char *name)
{
    struct chunk_check c = {.v = v, .stream = name, .last = INT64_MIN, .uids = {.seed = v->state->seed}};
    struct stream kept = {.node = {.key = hash}, .uids = {.seed = v->state->seed}};
    struct chunk_range range = {hash, INT64_MIN, INT64_MAX, UINT32_MAX};
    int rc = chunks_visit(v->state, v->partition, NULL, &range, check_chunk, &c, v->err);

    if (rc == 0)
        rc = stream_load_uids(v->p, &kept, v->err);
    if (rc == 0 && kept.large)
        compare_uids(&c, &kept.uids);
    if (rc == 0 && c.entries == 0)
        verify_say(v, "stream %s: has no events", name);
    *(id->kind == STREAM_PLACED ? &v->placed_events : &v->stated_events) += c.entries - c.gone;
    uidset_deinit(&c.uids);
    uidset_deinit(&kept.uids);
    return rc;
}

void verify_name(const struct stream_id *id, char *name, size_t size)
{
    snprintf(name, size, "(%.*s, %.*s)%s", (int)(id->anonymous_id.n < 40 ? id->anonymous_id.n : 40),
             id->anonymous_id.p ? id->anonymous_id.p : "", (int)(id->user_id.n < 40 ? id->user_id.n : 40),
             id->user_id.p ? id->user_id.p : "", id->kind == STREAM_PLACED ? " placed" : "");
}

static int check_stream(struct verify *v, struct str key, struct str value)
{
    struct key_hash profile, stream, hash;
    char id[PROFILE_ID_MAX_BYTES], name[LINE_BYTES / 4];
    struct stream_id stream_id;
    struct store_value found = {0};
    struct key owner;
    int rc;

    if (!key_read_two(key, KEY_STREAM, &profile, &stream) || stream_record_read(value, &stream_id) < 0) {
        verify_say(v, "a stream cannot be read");
        return 0;
    }
    verify_name(&stream_id, name, sizeof name);
    v->report->streams++;
    hash = stream_hash(v->p, &stream_id);
    if (!key_hash_eq(&hash, &stream))
        verify_say(v, "stream %s: stands under another key", name);
    hash = partition_hash(v->p, profile_id(stream_id.anonymous_id, stream_id.user_id, id));
    if (!key_hash_eq(&hash, &profile))
        verify_say(v, "stream %s: stands under another profile", name);
    owner = key_one(KEY_PROFILE, profile);
    rc = store_get(v->state->store, v->partition, key_str(&owner), NULL, &found, v->err);
    store_value_free(&found);
    if (rc < 0)
        return rc;
    if (rc == STORE_NOT_FOUND)
        verify_say(v, "stream %s: its profile is missing", name);
    return check_chunks(v, &stream_id, stream, name);
}

/* --- indexes -------------------------------------------------------------------------------------------------- */

/* A chunk or uids: their stream must be one that was met. */
static void check_placed(struct verify *v, struct str key)
{
    struct key_place place;
    struct uid as_uid;

    if (!key_read_placed(key, &place)) {
        verify_say(v, "a chunk has a bad key");
        return;
    }
    memcpy(as_uid.b, place.stream.b, UID_BYTES);
    if (!uidset_find(&v->streams, &as_uid))
        verify_say(v, "a chunk or uids of a stream that is not there");
}

static void check_definition(struct verify *v, struct str key, struct str value)
{
    const char *wrong = definition_wrong(v->p, key, value);

    if (wrong)
        verify_say(v, "a definition %s", wrong);
}

/* --- walking -------------------------------------------------------------------------------------------------- */

static int visit(struct verify *v, enum key_kind kind, struct str key, struct str value)
{
    struct key_hash profile, stream;
    struct uid_times t = {0};

    switch (kind) {
    case KEY_META:
        return 0;
    case KEY_PROFILE:
        return verify_profile(v, key, value);
    case KEY_STREAM:
        if (key_read_two(key, KEY_STREAM, &profile, &stream)) {
            memcpy(t.uid.b, stream.b, UID_BYTES);
            if (uidset_put(&v->streams, &t) < 0)
                return -ENOMEM;
        }
        return check_stream(v, key, value);
    case KEY_CHUNK:
    case KEY_LATE:
    case KEY_UIDS:
        check_placed(v, key);
        return 0;
    case KEY_DEVICE:
        return verify_device(v, key, value);
    case KEY_LINKS:
        return 0; /* with its device */
    case KEY_TOMBSTONE:
    case KEY_GRAVE:
        return 0; /* read when the state was opened */
    case KEY_DEFINITION:
        check_definition(v, key, value);
        return 0;
    case KEY_ACCOUNT:
        return verify_account(v, key, value);
    case KEY_ORDER:
        return verify_order(v, key, value);
    case KEY_ORDER_HOME:
        return verify_home(v, key, value);
    }
    verify_say(v, "a key of unknown kind");
    return 0;
}

/* Every key of a kind. */
static int walk(struct verify *v, enum key_kind kind)
{
    struct store_iter *it = store_iter_new(v->state->store, v->partition, NULL, false);
    char first = (char)kind;
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, (struct str){&first, 1}); rc == 0 && store_iter_at(it, &key, &value);
         store_iter_next(it)) {
        if (key.n == 0 || key.p[0] != first)
            break;
        rc = visit(v, kind, key, value);
        if (kind == KEY_PROFILE && v->progress)
            v->progress(v->arg, verify_share(v, key));
    }
    if (rc == 0)
        rc = store_iter_status(it, v->err);
    store_iter_free(it);
    return rc;
}

/* Keys begin with hashes, so where a key stands says how much is done. */
double verify_share(const struct verify *v, struct str key)
{
    double within = key.n > 2 ? ((unsigned char)key.p[1] * 256.0 + (unsigned char)key.p[2]) / 65536.0 : 0;

    return (v->partition + within) / v->state->partition_count;
}

static void check_counts(struct verify *v)
{
    struct state_figures f;
    uint64_t sum = 0;

    state_figures(v->state, v->partition, &f);
    for (int i = 0; i < OUTCOMES; i++)
        sum += f.outcomes[i];
    if (sum != (uint64_t)(f.offset - f.began))
        verify_say(v, "%" PRIu64 " outcomes of %" PRId64 " records", sum, f.offset - f.began);
    if (memcmp(f.identity, v->identity, sizeof f.identity) != 0)
        verify_say(v,
                   "%" PRIu64 " shared devices, %" PRIu64 " and %" PRIu64 " void pairs counted, %" PRIu64 ", %" PRIu64
                   " and %" PRIu64 " there",
                   f.identity[IDENTITY_SHARED], f.identity[IDENTITY_CAP], f.identity[IDENTITY_UNLINKED],
                   v->identity[IDENTITY_SHARED], v->identity[IDENTITY_CAP], v->identity[IDENTITY_UNLINKED]);
    if (f.base < 0 || f.base > f.offset)
        verify_say(v, "offset %" PRId64 " of the state is none of a log: its base is %" PRId64, f.offset, f.base);
    if (f.outcomes[OUTCOME_FOLDED] != v->stated_events)
        verify_say(v, "%" PRIu64 " events folded, %" PRIu64 " in streams", f.outcomes[OUTCOME_FOLDED],
                   v->stated_events);
    /* Those of devices with links are in the paths of their users, as placed ones. */
    if (v->stated_events - v->away_events + v->placed_events != v->path_events)
        verify_say(v, "%" PRIu64 " events stated, %" PRIu64 " of them away, %" PRIu64 " placed, %" PRIu64 " in paths",
                   v->stated_events, v->away_events, v->placed_events, v->path_events);
}

static int verify_partition(struct verify *v)
{
    static const enum key_kind kinds[] = {
        KEY_STREAM, KEY_DEVICE, KEY_ACCOUNT,    KEY_CHUNK,      KEY_LATE,
        KEY_UIDS,   KEY_ORDER,  KEY_ORDER_HOME, KEY_DEFINITION, KEY_PROFILE,
    };
    int rc = 0;

    v->p = &v->state->partitions[v->partition];
    v->stated_events = v->placed_events = v->away_events = v->path_events = 0;
    memset(v->identity, 0, sizeof v->identity);
    v->streams.seed = v->state->seed;
    if (state_dirty(v->state, v->partition)) {
        err_set(v->err, "the state has changes that are not committed");
        return -EBUSY;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == 0; i++)
        rc = walk(v, kinds[i]);
    if (rc == 0)
        check_counts(v);
    v->all_placed += v->placed_events;
    uidset_deinit(&v->streams);
    return rc;
}

int state_verify(struct state *s, void (*say)(void *arg, const char *line), void (*progress)(void *arg, double share),
                 void *arg, struct verify_report *out, struct err *e)
{
    struct verify v = {.state = s, .say = say, .progress = progress, .arg = arg, .report = out, .err = e};
    bool settled = verify_settled(&v);
    int rc = 0;

    *out = (struct verify_report){0};
    for (v.partition = 0; v.partition < s->partition_count && rc == 0; v.partition++)
        rc = verify_partition(&v);
    v.partition = 0;
    if (rc == 0 && settled && v.all_placed != v.all_expected)
        verify_say(&v, "%" PRIu64 " events placed, %" PRIu64 " of devices with links", v.all_placed, v.all_expected);
    if (rc == 0 && settled)
        verify_all_stated(&v);
    if (rc == 0 && progress)
        progress(arg, 1);
    return rc;
}
