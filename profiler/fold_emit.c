/* What folding asks to be put on the log: what other partitions have to know, and, for each record that is no event,
 * what it was and where it stands. A function of the records alone. The worker's thread. */
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"
#include "proto/codec.h"

static int reserve(struct emissions *l)
{
    if (l->n < l->cap)
        return 0;
    size_t cap = l->cap ? 2 * l->cap : 16;
    struct state_emission *v = realloc(l->v, cap * sizeof *v);

    if (!v)
        return -ENOMEM;
    l->v = v;
    l->cap = cap;
    return 0;
}

int emit_bad(struct partition *p, const struct log_record *r, const char *why)
{
    struct bad_event bad = {.received = r->time,
                            .code = STR_LIT("record_invalid"),
                            .message = str_of(why),
                            .bytes = r->value,
                            .full_size = r->value.n,
                            .from_log = true,
                            .log_partition = p->number,
                            .log_offset = r->offset - p->figures.base};
    struct buf b;

    if (bad.bytes.n > LIMIT_EVENT_BYTES)
        bad.bytes.n = LIMIT_EVENT_BYTES;
    buf_init(&b, LIMIT_RECORD_BYTES);
    if (reserve(&p->emissions) < 0 || !bad_event_pack(&bad, &b)) {
        buf_deinit(&b);
        return -ENOMEM;
    }
    p->emissions.v[p->emissions.n++] = (struct state_emission){
        .topic = LOG_BAD, .record = {.kind = LOG_KIND_BAD, .value = buf_str(&b), .placed = true, .partition = 0}};
    return 0;
}

static struct str keep_text(struct str s)
{
    char *p = malloc(s.n + 1);

    if (!p)
        abort();
    memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

void emit_internal(struct partition *p, struct str key, const struct internal *r)
{
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    if (reserve(&p->emissions) < 0 || !internal_pack(r, &b))
        abort(); /* half of what a record sets off must not be lost; the log has it all */
    p->emissions.v[p->emissions.n++] =
        (struct state_emission){.topic = LOG_EVENTS,
                                .record = {.kind = LOG_KIND_INTERNAL,
                                           .key = keep_text(str_has(key) ? key : STR_LIT("")),
                                           .value = buf_str(&b),
                                           .placed = !str_has(key),
                                           .partition = str_has(key) ? 0 : p->number}};
}

void emissions_clear(struct emissions *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free((void *)(uintptr_t)l->v[i].record.value.p);
        free((void *)(uintptr_t)l->v[i].record.key.p);
    }
    free(l->v);
    *l = (struct emissions){0};
}

size_t state_emissions(struct state *s, uint32_t partition, const struct state_emission **out)
{
    *out = s->partitions[partition].emissions.v;
    return s->partitions[partition].emissions.n;
}

void state_emitted(struct state *s, uint32_t partition)
{
    emissions_clear(&s->partitions[partition].emissions);
}

void state_emissions_taken(struct state *s, uint32_t partition)
{
    s->partitions[partition].emissions.n = 0;
}
