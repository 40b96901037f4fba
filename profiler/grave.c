/* Graves: what the log goes on to say of the devices of the erased. The worker's thread.
 *
 * A device's home remembers its links to an erased user under an alias, so that what falls to them is refused whenever
 * it comes. But the records that this follows from name the person, and the eraser blanks them: a state folded anew
 * from such a log would take a late event of the device for the device's own, or for a neighbour's. So whenever a
 * device's home has learnt that a user was erased, or of one more link of theirs, it puts a grave on its own
 * partition's log (INTERNAL_GRAVE), before the commit that the eraser waits for: device and user by their hashes under
 * the shop's key, the alias, until when, the links (times and uids), and what else counts of the user there. It names
 * nobody; the eraser keeps it.
 *
 * Who reads one:
 * - the state that has put it there knows all of it. It finds the record by its hash among those that it has said
 *   (rows 'G', from the saying to the reading), and is done: nothing is searched for, nothing changes.
 * - a state that is folded anew searches the devices and profiles of the partition for one whose id has the hash
 *   (grave_search.c). If somebody has spoken of the device already, the grave becomes part of it at once, and what has
 *   fallen to others moves.
 * - else the grave waits (rows 'G'), and becomes part of the device when it is spoken of by its name: before an event
 * of it is folded, or a link is told. There is nothing of the device then, so that nobody has to be told.
 *
 * A log that was cleaned has no event any more that was an erased person's, but graves stand behind what they speak of,
 * and whose an event was may follow from a record that comes later. So what was on the log already when a partition
 * began to follow it is erased only once all of that is read (state_catch_up): until then what falls to the erased is
 * kept at the device's home and is nobody's, and may become somebody's. Then the others are told once more what they
 * have of the device: what they were told because of records that were blanked since stands on their logs, and is
 * newer. Of the embedded log alone; the eraser waits as well.
 *
 * To become part of a device is to say of it what its home has said: the user under the alias, erased, the links with
 * the versions that they had. It does nothing that is done already, so that graves may come twice, in any order, and
 * beside the records that they were made from; which of these the eraser has blanked by then does not matter. */
#include "profiler/grave.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/cascade.h"
#include "profiler/device_users.h"
#include "profiler/erased.h"
#include "profiler/grave_search.h"
#include "proto/codec.h"

#define GRAVE_LINKS 1024 /* in one record */

enum { GRAVE_CROWDED = 1, GRAVE_BEYOND = 2 };

/* What of the user stands before the links. */
struct remains {
    bool crowded, beyond;
    struct internal_version verdict;
    int64_t unlinked_until;
    struct str links;
};

static struct key_hash device_hash(const struct partition *p, struct str device)
{
    char buf[PROFILE_ID_MAX_BYTES];

    return erasure_hash(p, profile_id(device, STR_NONE, buf));
}

static struct key_hash hash_of(struct str bytes)
{
    struct key_hash h;

    assert(bytes.n == sizeof h.b);
    memcpy(h.b, bytes.p, sizeof h.b);
    return h;
}

/* --- leaving one ---------------------------------------------------------------------------------------------- */

/* That the record of this content was said by this state. */
static struct key_hash said_hash(const struct partition *p, const struct internal *r)
{
    struct key_hash h;
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    if (!internal_pack(r, &b))
        abort();
    h = partition_hash(p, buf_str(&b));
    buf_deinit(&b);
    return h;
}

static void say(struct partition *p, const struct device *d, uint32_t user, struct str links)
{
    const struct device_user *u = &d->users[user];
    struct key_hash device = device_hash(p, d->id), said;
    struct internal r = {.kind = INTERNAL_GRAVE,
                         .sender = p->number,
                         .version = {p->cascade.cause, ++p->cascade.graves},
                         .device = {(const char *)device.b, sizeof device.b},
                         .user = {(const char *)u->was.b, sizeof u->was.b},
                         .alias = u->id,
                         .erased = true,
                         .until = u->erased_until,
                         .links = links};

    if (u->id.n != ERASURE_ALIAS_BYTES)
        return; /* of a record that no eraser has written */
    emit_internal(p, STR_NONE, &r);
    said = said_hash(p, &r);
    if (!graves_make(p, &said, GRAVE_SAID))
        abort();
}

static void begin(const struct device *d, uint32_t user, struct buf *b)
{
    const struct device_user *u = &d->users[user];

    buf_reset(b);
    buf_add_varint(b, (d->crowded ? GRAVE_CROWDED : 0) | (u->beyond ? GRAVE_BEYOND : 0));
    put_version(b, u->verdict);
    buf_add_svarint(b, u->unlinked_until);
}

static void put(struct buf *b, const struct link *l)
{
    struct link nobodys = *l;

    nobodys.user = 0; /* there is but one */
    link_write(&nobodys, b);
}

static void finish(struct partition *p, const struct device *d, uint32_t user, const struct buf *b)
{
    if (b->failed)
        abort();
    say(p, d, user, buf_str(b));
}

void grave_leave(struct partition *p, const struct device *d, uint32_t user, const struct link *late)
{
    size_t n = 0;
    struct buf b;

    assert(d->users[user].erased && d->links_known);
    buf_init(&b, LIMIT_RECORD_BYTES);
    begin(d, user, &b);
    if (late)
        put(&b, late);
    for (size_t i = 0; i < d->links.n && !late; i++) {
        if (d->links.v[i].user != user)
            continue;
        if (n > 0 && n % GRAVE_LINKS == 0) {
            finish(p, d, user, &b);
            begin(d, user, &b);
        }
        put(&b, &d->links.v[i]);
        n++;
    }
    finish(p, d, user, &b);
    buf_deinit(&b);
}

/* --- reading one ---------------------------------------------------------------------------------------------- */

static bool read_remains(const struct internal *r, struct remains *out)
{
    const char *p = r->links.p, *end = r->links.p + r->links.n;
    uint64_t flags;

    if (!get_varint(&p, end, &flags) || !get_version(&p, end, &out->verdict) ||
        !get_svarint(&p, end, &out->unlinked_until))
        return false;
    out->crowded = flags & GRAVE_CROWDED;
    out->beyond = flags & GRAVE_BEYOND;
    out->links = (struct str){p, (size_t)(end - p)};
    return true;
}

bool grave_is_one(const struct internal *r)
{
    struct remains is;
    struct link link;

    if (!read_remains(r, &is))
        return false;
    for (const char *p = is.links.p, *end = p + is.links.n; p < end;)
        if (!link_read(&p, end, &link))
            return false;
    return true;
}

/* --- becoming part of the device ------------------------------------------------------------------------------ */

struct burial {
    struct partition *p;
    struct device *d;
    const struct internal *r;
    struct remains is;
    struct key_hash was;
    struct device_erasure erasure;
};

/* The user where their records were not blanked: erased, as by the command, unless this is another life of theirs. */
static uint32_t find_living(const struct burial *b)
{
    for (size_t i = 0; i < b->d->user_count; i++) {
        const struct device_user *u = &b->d->users[i];
        struct key_hash h;

        if (u->erased || u->erased_until >= b->r->until)
            continue;
        h = device_user_hash(b->p, u->id);
        if (key_hash_eq(&h, &b->was))
            return (uint32_t)i;
    }
    return NO_USER;
}

static bool has_link(const struct links *l, const struct link *link)
{
    for (size_t i = 0; i < l->n; i++)
        if (memcmp(l->v[i].subject.b, link->subject.b, UID_BYTES) == 0)
            return internal_version_cmp(l->v[i].version, link->version) >= 0;
    return false;
}

static bool has_links(const struct burial *b)
{
    struct link link;

    for (const char *p = b->is.links.p, *end = p + b->is.links.n; p < end;)
        if (!link_read(&p, end, &link) || !has_link(&b->d->links, &link))
            return false;
    return true;
}

static bool is_known(const struct burial *b, uint32_t user)
{
    const struct device_user *u = user != NO_USER ? &b->d->users[user] : NULL;

    return u && !b->d->behind && u->erased && u->erased_until >= b->r->until && key_hash_eq(&u->was, &b->was) &&
           u->unlinked_until >= b->is.unlinked_until && internal_version_cmp(u->verdict, b->is.verdict) >= 0 &&
           (b->d->crowded || !b->is.crowded) && has_links(b);
}

static void take_user(const struct burial *b)
{
    struct device_user *u = &b->d->users[b->erasure.user];

    pthread_mutex_lock(&b->p->lock);
    b->d->crowded = b->d->crowded || b->is.crowded;
    if (u->unlinked_until < b->is.unlinked_until)
        u->unlinked_until = b->is.unlinked_until;
    if (internal_version_cmp(b->is.verdict, u->verdict) > 0) {
        u->verdict = b->is.verdict;
        u->beyond = b->is.beyond;
    }
    pthread_mutex_unlock(&b->p->lock);
}

static int take_links(const struct burial *b)
{
    struct link link;

    for (const char *p = b->is.links.p, *end = p + b->is.links.n; p < end;) {
        if (!link_read(&p, end, &link))
            return -EIO; /* it was looked at */
        link.user = b->erasure.user;
        if (links_put(&b->d->links, &link) < 0)
            return -ENOMEM;
    }
    b->d->links_changed = true;
    return 0;
}

/* 1 when it has changed the device, 0 when that knew all of it, or a negative errno. */
static int bury(struct partition *p, struct str device, const struct internal *r, struct err *e)
{
    struct burial b = {.p = p, .r = r, .was = hash_of(r->user)};
    uint32_t living, known;
    int rc = read_remains(r, &b.is) ? partition_device(p, device, true, &b.d, e) : -EIO;

    if (rc == 0)
        rc = device_load_links(p, b.d, e);
    if (rc < 0)
        return rc;
    if (p->cascade.cause < p->graves.until)
        rc = grave_hold(p, b.d, e); /* with the last of them it looks again at once */
    if (rc < 0)
        return rc;
    living = find_living(&b);
    known = device_find_user(b.d, r->alias);
    if (living == NO_USER && is_known(&b, known))
        return 0;
    b.d->behind = true;
    b.erasure = (struct device_erasure){living, NO_USER, r->until, r->alias, &b.was, living == NO_USER};
    if (living == NO_USER)
        b.erasure.user = known != NO_USER ? known : device_user_number(p, b.d, r->alias);
    else
        b.erasure.back = device_split_links(p, b.d, living, r->until);
    take_user(&b);
    rc = take_links(&b);
    if (rc == 0)
        rc = device_recompute(p, b.d, &b.erasure, e);
    if (rc == 0)
        b.d->behind = false;
    return rc < 0 ? rc : 1;
}

static int wait_for(struct partition *p, const struct internal *r, struct err *e)
{
    const struct key_hash hash = hash_of(r->device);
    struct grave *g = graves_find(p, &hash);
    struct buf b;
    int rc = 0;

    if (!g)
        g = graves_make(p, &hash, GRAVE_WAITS);
    if (!g)
        return -ENOMEM;
    rc = graves_fetch(p, g, e);
    buf_init(&b, LIMIT_RECORD_BYTES);
    if (rc == 0)
        rc = internal_pack(r, &b) ? graves_add(p, g, buf_str(&b)) : -ENOMEM;
    buf_deinit(&b);
    return rc < 0 ? rc : 1;
}

int grave_heard(struct partition *p, const struct internal *r, struct err *e)
{
    struct key_hash said = said_hash(p, r);
    struct grave *g = graves_find(p, &said);
    struct key_hash hash = hash_of(r->device);
    struct str id;
    int rc;

    if (g) {
        graves_drop(p, g);
        return 0;
    }
    rc = grave_search(p, &hash, true, &id, e);
    if (rc == 0)
        rc = str_has(id) ? bury(p, profile_log_key(id), r, e) : wait_for(p, r, e);
    free((void *)(uintptr_t)id.p);
    if (rc <= 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    erased_mark(p);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

int grave_meet(struct partition *p, struct str device, struct err *e)
{
    struct key_hash hash;
    struct grave *g;
    struct str bytes;
    struct arena a;
    int rc = 0;

    if (p->graves.waiting == 0)
        return 0;
    hash = device_hash(p, device);
    g = graves_find(p, &hash);
    if (!g)
        return 0;
    rc = graves_fetch(p, g, e);
    arena_init(&a, SIZE_MAX);
    for (const char *at = g->v, *stop = rc == 0 ? g->v + g->n : at; rc >= 0 && graves_next(&at, stop, &bytes);) {
        struct internal r;

        arena_reset(&a);
        rc = internal_unpack(bytes, &a, &r);
        rc = rc == CODEC_OK ? bury(p, device, &r, e)
             : rc < 0       ? rc
                            : damaged(e, "what is left of an erased person's device");
    }
    arena_deinit(&a);
    if (rc >= 0)
        graves_drop(p, g);
    return rc < 0 ? rc : 0;
}
