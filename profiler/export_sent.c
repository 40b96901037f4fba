/* What the export before has told. In memory a table of hashes, by which people are looked up as they come; what was
 * kept of them stays in the file. The export's thread. */
#include "profiler/export_sent.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"

static_assert(LIMIT_PARTITIONS < 1 << 12, "a partition fits beside a length");

static const char MAGIC[] = "WMSENT1\n";
#define MAGIC_BYTES (sizeof MAGIC - 1)
#define RECORD_BYTES (2 * EXPORT_PERSON_BYTES + 4) /* who, digest of the line, length; then what is kept */
#define LENGTH_BITS 20 /* of the length; above them one more than the partition, 0 of older files */

enum seen { UNSEEN = 0x20, SEEN = 0x21, CHANGED = 0x22 }; /* else a reason */

struct slot {
    struct export_person_hash who;
    struct export_person_hash digest; /* of the line; of CHANGED that of what is kept from now on */
    uint64_t at;                      /* of the record in the file; 0: the slot is free */
    uint32_t partition;               /* one more than that; 0: not known */
    unsigned char seen;
};

struct sent {
    char *bytes;
    size_t n;
    struct slot *slots;
    size_t mask;
};

static struct slot *find(const struct sent *s, const struct export_person_hash *who)
{
    uint64_t h;

    memcpy(&h, who->b, sizeof h);
    for (size_t i = h & s->mask;; i = (i + 1) & s->mask)
        if (s->slots[i].at == 0 || memcmp(&s->slots[i].who, who, sizeof *who) == 0)
            return &s->slots[i];
}

/* The record at a place: false at the end, and for bytes that are none (*bad). */
static bool record(const struct sent *s, size_t at, struct slot *out, struct str *least, bool *bad)
{
    const char *p = s->bytes + at, *end = s->bytes + s->n;
    uint32_t length;

    if (p == end)
        return false;
    *bad = true;
    if ((size_t)(end - p) < RECORD_BYTES)
        return false;
    memcpy(out->who.b, p, EXPORT_PERSON_BYTES);
    memcpy(out->digest.b, p + EXPORT_PERSON_BYTES, EXPORT_PERSON_BYTES);
    out->at = at;
    p += RECORD_BYTES - 4;
    if (!get_be32(&p, end, &length))
        return false;
    out->partition = length >> LENGTH_BITS;
    length &= (1u << LENGTH_BITS) - 1;
    if (length > (size_t)(end - p))
        return false;
    *least = (struct str){p, length};
    *bad = false;
    return true;
}

static int index_all(struct sent *s)
{
    struct slot r = {.seen = UNSEEN};
    struct str least;
    bool bad = false;
    size_t n = 0, room = 64;

    for (size_t at = MAGIC_BYTES; record(s, at, &r, &least, &bad); at += RECORD_BYTES + least.n)
        n++;
    if (bad)
        return -EBADMSG;
    while (room < n + n / 2)
        room *= 2;
    s->slots = calloc(room, sizeof *s->slots);
    if (!s->slots)
        return -ENOMEM;
    s->mask = room - 1;
    for (size_t at = MAGIC_BYTES; record(s, at, &r, &least, &bad); at += RECORD_BYTES + least.n)
        *find(s, &r.who) = r;
    return 0;
}

static int map(struct sent *s, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    int rc = fd < 0 || fstat(fd, &st) != 0 ? -errno : 0;

    if (rc == 0 && (size_t)st.st_size < MAGIC_BYTES)
        rc = -EBADMSG;
    if (rc == 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        rc = p == MAP_FAILED ? -errno : 0;
        s->bytes = rc == 0 ? p : NULL;
        s->n = (size_t)st.st_size;
    }
    if (fd >= 0)
        close(fd);
    if (rc == 0 && memcmp(s->bytes, MAGIC, MAGIC_BYTES) != 0)
        rc = -EBADMSG;
    return rc;
}

int sent_open(const char *path, struct sent **out, struct err *e)
{
    struct sent *s = calloc(1, sizeof *s);
    int rc = 0;

    if (!s)
        return -ENOMEM;
    if (path)
        rc = map(s, path);
    if (rc == 0 && path)
        rc = index_all(s);
    if (rc == 0 && !path) {
        s->slots = calloc(1, sizeof *s->slots);
        rc = s->slots ? 0 : -ENOMEM;
    }
    if (rc < 0) {
        err_set(e, "what the export before has told cannot be read: %.150s: %s", path ? path : "", strerror(-rc));
        sent_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void sent_close(struct sent *s)
{
    if (!s)
        return;
    if (s->bytes)
        munmap(s->bytes, s->n);
    free(s->slots);
    free(s);
}

/* NULL: they are not there. An empty table is one free slot. */
static struct slot *there(const struct sent *s, const struct export_person_hash *who)
{
    struct slot *slot = find(s, who);

    return slot->at ? slot : NULL;
}

enum sent_look sent_look(struct sent *s, const struct export_person_hash *who, struct str line, struct str least)
{
    struct slot *slot = there(s, who);
    struct export_person_hash digest = export_digest(line);

    if (!slot)
        return SENT_NEW;
    if (slot->seen != UNSEEN) /* met twice, while the audience moved: told once */
        return SENT_SAME;
    if (memcmp(&digest, &slot->digest, sizeof digest) == 0) {
        slot->seen = SEEN;
        return SENT_SAME;
    }
    slot->seen = CHANGED;
    slot->digest = export_digest(least);
    return SENT_CHANGED;
}

void sent_left_out(struct sent *s, const struct export_person_hash *who, unsigned reason)
{
    struct slot *slot = there(s, who);

    assert(reason < SENT_GONE);
    if (slot && slot->seen == UNSEEN)
        slot->seen = (unsigned char)reason;
}

static bool is_gone(const struct slot *slot, struct str least, unsigned *reason)
{
    struct export_person_hash kept;

    switch (slot->seen) {
    case SEEN:
        return false;
    case CHANGED:
        kept = export_digest(least);
        *reason = SENT_REPLACED;
        return least.n > 0 && memcmp(&kept, &slot->digest, sizeof kept) != 0;
    case UNSEEN:
        *reason = SENT_GONE;
        return true;
    default:
        *reason = slot->seen;
        return true;
    }
}

/* Of a partition that was not looked at nobody is gone. */
static unsigned reason_here(unsigned reason, const struct slot *slot, const bool *here, uint32_t partitions)
{
    uint32_t p = slot->partition;

    return reason == SENT_GONE && here && p > 0 && p <= partitions && !here[p - 1] ? SENT_MOVED : reason;
}

int sent_each_gone(struct sent *s, const bool *here, uint32_t partitions,
                   int (*each)(void *arg, const struct export_person_hash *who, struct str least, unsigned reason),
                   void *arg, struct err *e)
{
    struct slot r;
    struct str least;
    bool bad = false;
    unsigned reason;
    int rc = 0;

    for (size_t at = MAGIC_BYTES; rc == 0 && s->bytes && record(s, at, &r, &least, &bad); at += RECORD_BYTES + least.n)
        if (is_gone(find(s, &r.who), least, &reason))
            rc = each(arg, &r.who, least, reason_here(reason, &r, here, partitions));
    if (rc < 0 && !e->text[0])
        err_set(e, "removals cannot be written: %s", strerror(-rc));
    return rc;
}

void sent_head(struct buf *b)
{
    buf_add(b, MAGIC, MAGIC_BYTES);
}

void sent_write(struct buf *b, const struct export_person_hash *who, uint32_t partition, struct str line,
                struct str least)
{
    struct export_person_hash digest = export_digest(line);

    assert(least.n < 1u << LENGTH_BITS && partition < LIMIT_PARTITIONS);
    buf_add(b, who->b, sizeof who->b);
    buf_add(b, digest.b, sizeof digest.b);
    buf_add_be32(b, (partition + 1) << LENGTH_BITS | (uint32_t)least.n);
    buf_add_str(b, least);
}
