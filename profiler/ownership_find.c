/* Where the owners are: a thread of its own reads the last claim of every partition and each that follows, for their
 * URLs. What it knows may be late: whoever is asked by it says for itself whether it owns the partition. */
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/address.h"
#include "profiler/ownership_private.h"
#include "proto/codec.h"

#define ASK_MS 2000
#define WAIT_MS 1000 /* also between tries while the log cannot be reached */
#define BATCH 64

struct finder {
    struct ownership *ownership;
    struct log_reader *reader;
    uint32_t *numbers;
    bool *placed;
    int64_t *ends;
    struct log_record records[BATCH];
    struct arena arena;
    pthread_t thread;
    bool started;
};

static void note(struct finder *f, uint32_t partition, const struct log_record *record)
{
    struct ownership *o = f->ownership;
    struct owned *p = &o->owned[partition];
    struct claim_record claim;

    arena_reset(&f->arena);
    if (record->kind != LOG_KIND_CLAIM || claim_unpack(record->value, &f->arena, &claim) != CODEC_OK)
        return;
    bool others = !str_is(claim.instance, o->o.instance) && claim.url.n < sizeof p->url && address_is_valid(claim.url);

    pthread_mutex_lock(&p->lock);
    if (others)
        memcpy(p->url, claim.url.p, claim.url.n);
    p->url[others ? claim.url.n : 0] = '\0';
    pthread_mutex_unlock(&p->lock);
}

/* To the last claim of each partition that has no place yet. */
static void place(struct finder *f)
{
    size_t n = 0;

    for (uint32_t i = 0; i < f->ownership->o.partitions; i++)
        if (!f->placed[i])
            f->numbers[n++] = i;
    if (n == 0 || event_log_ask_ends(f->ownership->o.log, LOG_CLAIMS, f->numbers, n, ASK_MS, f->ends, NULL) != 0)
        return;
    for (size_t i = 0; i < n && !atomic_load(&f->ownership->stopping); i++) {
        int64_t last = f->ends[i] > 0 ? f->ends[i] - 1 : 0;
        int r = log_reader_seek(f->reader, f->numbers[i], last);
        if (r == LOG_READ_GAP)
            r = log_reader_seek(f->reader, f->numbers[i], f->ends[i]);
        if (r == -EAGAIN)
            return; /* nor do the brokers answer for the others */
        f->placed[f->numbers[i]] = r == 0;
    }
}

/* Returns whether there was anything. */
static bool read_claims(struct finder *f, uint32_t partition)
{
    int n = log_reader_read(f->reader, partition, f->records, BATCH, MIB, NULL);

    for (int i = 0; i < n; i++)
        note(f, partition, &f->records[i]);
    if (n < 0)
        f->placed[partition] = false;
    return n > 0;
}

static void *finder_main(void *arg)
{
    struct finder *f = arg;
    uint32_t partitions = f->ownership->o.partitions;

    while (!atomic_load(&f->ownership->stopping)) {
        bool more = false;
        size_t n = 0;

        place(f);
        for (uint32_t i = 0; i < partitions; i++)
            if (f->placed[i])
                more |= read_claims(f, i);
        for (uint32_t i = 0; i < partitions; i++)
            if (f->placed[i])
                f->numbers[n++] = i;
        if (!more)
            log_reader_wait(f->reader, f->numbers, n, WAIT_MS);
    }
    return NULL;
}

int ownership_find_start(struct ownership *o, struct err *e)
{
    struct finder *f = calloc(1, sizeof *f);

    if (!f)
        return -ENOMEM;
    o->finder = f;
    f->ownership = o;
    arena_init(&f->arena, CODEC_UNPACK_BYTES(LIMIT_RECORD_BYTES));
    f->numbers = calloc(o->o.partitions, sizeof *f->numbers);
    f->placed = calloc(o->o.partitions, sizeof *f->placed);
    f->ends = calloc(o->o.partitions, sizeof *f->ends);
    if (!f->numbers || !f->placed || !f->ends)
        return -ENOMEM;
    int r = log_reader_open(o->o.log, LOG_CLAIMS, NULL, &f->reader, e);
    if (r == 0)
        r = -pthread_create(&f->thread, NULL, finder_main, f);
    f->started = r == 0;
    return r;
}

void ownership_find_stop(struct ownership *o)
{
    struct finder *f = o->finder;

    if (!f)
        return;
    if (f->started) {
        log_reader_wake(f->reader);
        pthread_join(f->thread, NULL);
    }
    log_reader_close(f->reader);
    arena_deinit(&f->arena);
    free(f->numbers);
    free(f->placed);
    free(f->ends);
    free(f);
    o->finder = NULL;
}
