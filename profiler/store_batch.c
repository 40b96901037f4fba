/* What a commit writes, gathered and put in order. Keys and values stand in blocks that are used again. The thread of
 * the one who commits. */
#include "profiler/store_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/limits.h"

#define HUGE_PAGE_BYTES (2 * MIB)
#define BLOCK_BYTES (4 * MIB)
#define SMALL_BYTES (64 * KIB)

struct block {
    struct block *next;
    size_t size, used;
    char bytes[];
};

struct store_batch {
    struct block *full, *spare;
    struct batch_record *records;
    size_t n, cap, bytes;
    uint32_t family;
    bool failed; /* memory was out */
};

struct store_batch *store_batch_new(uint32_t family)
{
    struct store_batch *b = calloc(1, sizeof *b);

    if (b)
        b->family = family;
    return b;
}

static void blocks_free(struct block *b)
{
    struct block *next;

    for (; b; b = next) {
        next = b->next;
        free(b);
    }
}

void store_batch_free(struct store_batch *b)
{
    if (!b)
        return;
    blocks_free(b->full);
    blocks_free(b->spare);
    free(b->records);
    free(b);
}

void store_batch_clear(struct store_batch *b)
{
    while (b->full) {
        struct block *next = b->full->next;

        b->full->next = b->spare;
        b->spare = b->full;
        b->full = next;
    }
    b->n = b->bytes = 0;
    b->failed = false;
}

static struct block *block_new(struct store_batch *b, size_t n)
{
    size_t whole = b->bytes < BLOCK_BYTES / 4 ? SMALL_BYTES : BLOCK_BYTES;
    void *p;

    if (b->spare && b->spare->size >= n) {
        struct block *k = b->spare;

        b->spare = k->next;
        return k;
    }
    if (n + sizeof(struct block) > whole)
        whole = n + sizeof(struct block);
    if (posix_memalign(&p, whole < BLOCK_BYTES ? 64 : HUGE_PAGE_BYTES, whole) != 0)
        return NULL;
    if (whole >= BLOCK_BYTES)
        madvise(p, whole, MADV_HUGEPAGE);
    ((struct block *)p)->size = whole - sizeof(struct block);
    return p;
}

static struct str keep(struct store_batch *b, struct str bytes)
{
    struct block *k = b->full;
    char *to;

    if (!k || k->size - k->used < bytes.n) {
        k = block_new(b, bytes.n);
        if (!k) {
            b->failed = true;
            return STR_NONE;
        }
        k->used = 0;
        k->next = b->full;
        b->full = k;
    }
    to = k->bytes + k->used;
    if (bytes.n)
        memcpy(to, bytes.p, bytes.n);
    k->used += bytes.n;
    b->bytes += bytes.n;
    return (struct str){to, bytes.n};
}

static void add(struct store_batch *b, struct str key, struct str value, bool deletion)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 64;
        struct batch_record *more = realloc(b->records, cap * sizeof *more);

        if (!more) {
            b->failed = true;
            return;
        }
        b->records = more;
        b->cap = cap;
    }
    b->records[b->n] = (struct batch_record){keep(b, key), deletion ? STR_NONE : keep(b, value), b->n};
    b->n++;
}

void store_batch_put(struct store_batch *b, struct str key, struct str value)
{
    add(b, key, value, false);
}

void store_batch_delete(struct store_batch *b, struct str key)
{
    add(b, key, STR_NONE, true);
}

size_t store_batch_bytes(const struct store_batch *b)
{
    return b->bytes;
}

uint32_t store_batch_family(const struct store_batch *b)
{
    return b->family;
}

/* By key, then in the order of adding. */
static int compare_records(const void *x, const void *y)
{
    const struct batch_record *a = x, *b = y;
    int c = str_cmp(a->key, b->key);

    return c ? c : (a->place > b->place) - (a->place < b->place);
}

int store_batch_records(struct store_batch *b, const struct batch_record **out, size_t *n)
{
    size_t kept = 0;

    if (b->failed)
        return -ENOMEM;
    if (b->n > 1)
        qsort(b->records, b->n, sizeof *b->records, compare_records);
    for (size_t i = 0; i < b->n; i++)
        if (i + 1 == b->n || !str_eq(b->records[i].key, b->records[i + 1].key))
            b->records[kept++] = b->records[i];
    b->n = kept;
    *out = b->records;
    *n = kept;
    return 0;
}
