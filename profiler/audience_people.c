/* Numbers and due times of people; see audience_people.h. The judging thread writes, under the lock of the audiences;
 * others read under it. */
#include "profiler/audience_people.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define INDEX_FIRST 64

/* Memory that is out ends the process: people are as many as the profiles on disk. */
static void *grow(void *v, uint32_t *cap, uint32_t need, size_t size)
{
    uint32_t n = *cap ? *cap : 16;

    if (need <= *cap)
        return v;
    while (n < need)
        n += n / 2 + 1;
    v = realloc(v, (size_t)n * size);
    if (!v)
        abort();
    *cap = n;
    return v;
}

void people_init(struct people *p)
{
    *p = (struct people){.everybody = bits_new(), .index_size = INDEX_FIRST};
    p->index = malloc(INDEX_FIRST * sizeof *p->index);
    if (!p->index)
        abort();
    memset(p->index, 0xff, INDEX_FIRST * sizeof *p->index);
}

void people_deinit(struct people *p)
{
    free(p->v);
    free(p->free_numbers);
    free(p->index);
    free(p->heap);
    bits_free(p->everybody);
    *p = (struct people){0};
}

size_t people_bytes(const struct people *p)
{
    return p->cap * sizeof *p->v + (p->free_cap + p->index_size + p->heap_cap) * sizeof(uint32_t) +
           bits_bytes(p->everybody);
}

bool people_has(const struct people *p, uint32_t number)
{
    return bits_has(p->everybody, number);
}

/* --- numbers by hash ------------------------------------------------------------------------------------------ */

static uint32_t slot_of(const struct people *p, const struct key_hash *hash)
{
    uint32_t at = (uint32_t)key_hash_number(hash) & (p->index_size - 1);

    while (p->index[at] != PERSON_NONE && !key_hash_eq(&p->v[p->index[at]].hash, hash))
        at = (at + 1) & (p->index_size - 1);
    return at;
}

uint32_t people_find(const struct people *p, const struct key_hash *hash)
{
    return p->index[slot_of(p, hash)];
}

static void index_grow(struct people *p)
{
    uint32_t *old = p->index, size = p->index_size;

    if (((uint64_t)p->count + 1) * 4 <= (uint64_t)size * 3)
        return;
    p->index_size = size * 2;
    p->index = malloc(p->index_size * sizeof *p->index);
    if (!p->index)
        abort();
    memset(p->index, 0xff, p->index_size * sizeof *p->index);
    for (uint32_t i = 0; i < size; i++)
        if (old[i] != PERSON_NONE)
            p->index[slot_of(p, &p->v[old[i]].hash)] = old[i];
    free(old);
}

/* What stood behind moves up, so that no search ends too early. */
static void index_remove(struct people *p, uint32_t at)
{
    uint32_t mask = p->index_size - 1, hole = at;

    for (uint32_t i = (at + 1) & mask; p->index[i] != PERSON_NONE; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)key_hash_number(&p->v[p->index[i]].hash) & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            p->index[hole] = p->index[i];
            hole = i;
        }
    }
    p->index[hole] = PERSON_NONE;
}

/* --- numbers -------------------------------------------------------------------------------------------------- */

static void give_back(struct people *p, uint32_t number)
{
    p->free_numbers = grow(p->free_numbers, &p->free_cap, p->free_n + 1, sizeof *p->free_numbers);
    p->free_numbers[p->free_n++] = number;
}

/* Rows come in the order of their hashes, not of their numbers: what is passed over is free until its row comes. */
static void reach(struct people *p, uint32_t number)
{
    p->v = grow(p->v, &p->cap, number + 1, sizeof *p->v);
    while (p->n < number)
        give_back(p, p->n++);
    p->n = number + 1;
}

static uint32_t take_wish(struct people *p, uint32_t wish)
{
    if (wish == PERSON_NONE || bits_has(p->everybody, wish))
        return PERSON_NONE;
    if (wish >= p->n) {
        reach(p, wish);
        return wish;
    }
    return wish; /* it is among the free ones, and is left out there when its turn comes */
}

static uint32_t take_any(struct people *p)
{
    while (p->free_n > 0) {
        uint32_t number = p->free_numbers[--p->free_n];

        if (!bits_has(p->everybody, number))
            return number;
    }
    reach(p, p->n);
    return p->n - 1;
}

uint32_t people_add(struct people *p, const struct key_hash *hash, uint32_t wish)
{
    uint32_t number = take_wish(p, wish);

    assert(people_find(p, hash) == PERSON_NONE);
    if (number == PERSON_NONE)
        number = take_any(p);
    index_grow(p);
    p->v[number] = (struct person){.hash = *hash, .version = -1, .due = TIME_NONE, .heap_at = PERSON_NONE};
    p->index[slot_of(p, hash)] = number;
    bits_set(p->everybody, number);
    p->count++;
    return number;
}

void people_remove(struct people *p, uint32_t number)
{
    assert(people_has(p, number));
    people_set_due(p, number, TIME_NONE);
    index_remove(p, slot_of(p, &p->v[number].hash));
    bits_clear(p->everybody, number);
    p->count--;
    give_back(p, number);
}

/* --- due ------------------------------------------------------------------------------------------------------ */

static void put(struct people *p, uint32_t at, uint32_t number)
{
    p->heap[at] = number;
    p->v[number].heap_at = at;
}

static void sift(struct people *p, uint32_t at)
{
    uint32_t number = p->heap[at];
    int64_t due = p->v[number].due;

    while (at > 0 && p->v[p->heap[(at - 1) / 2]].due > due) {
        put(p, at, p->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t kid = 2 * at + 1;

        if (kid + 1 < p->heap_n && p->v[p->heap[kid + 1]].due < p->v[p->heap[kid]].due)
            kid++;
        if (kid >= p->heap_n || p->v[p->heap[kid]].due >= due)
            break;
        put(p, at, p->heap[kid]);
        at = kid;
    }
    put(p, at, number);
}

static void heap_remove(struct people *p, uint32_t number)
{
    uint32_t at = p->v[number].heap_at, last;

    if (at == PERSON_NONE)
        return;
    p->v[number].heap_at = PERSON_NONE;
    last = p->heap[--p->heap_n];
    if (last == number)
        return;
    put(p, at, last);
    sift(p, at);
}

void people_set_due(struct people *p, uint32_t number, int64_t due)
{
    struct person *x = &p->v[number];

    assert(people_has(p, number));
    if (due == TIME_NONE) {
        heap_remove(p, number);
        x->due = due;
        return;
    }
    x->due = due;
    if (x->heap_at == PERSON_NONE) {
        p->heap = grow(p->heap, &p->heap_cap, p->heap_n + 1, sizeof *p->heap);
        put(p, p->heap_n++, number);
    }
    sift(p, x->heap_at);
}

uint32_t people_first_due(const struct people *p)
{
    return p->heap_n ? p->heap[0] : PERSON_NONE;
}
