/* The people of a partition as the audiences know them: each has a dense number, found by the hash of the profile's id,
 * and the moment at which time alone may change what follows from their rules. The due ones come first from a heap with
 * one entry for each person at most. Pure; one writer, many may read while nobody writes. */
#ifndef WAYMARK_AUDIENCE_PEOPLE_H
#define WAYMARK_AUDIENCE_PEOPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profiler/audience_bits.h"
#include "proto/keys.h"

#define PERSON_NONE UINT32_MAX

struct person {
    struct key_hash hash;
    int64_t version;  /* of the profile when it was judged; -1: it was not */
    int64_t due;      /* TIME_NONE: time alone changes nothing */
    uint64_t world;   /* by which it was judged; 0: to be judged anew */
    uint32_t heap_at; /* PERSON_NONE: it is not in the heap */
    uint16_t took;    /* to be judged, in tenths of a ms */
    bool waits;       /* for a turn of those who take long */
    bool missed;      /* nobody is there, and the note that says who it was was waited for */
};

struct people {
    struct person *v; /* by number; free ones are in no index */
    uint32_t n, cap;  /* numbers given at some time; free ones are among them */
    uint32_t count;
    uint32_t *free_numbers;
    uint32_t free_n, free_cap;
    uint32_t *index; /* open addressing: numbers by hash, PERSON_NONE where there is none */
    uint32_t index_size;
    uint32_t *heap; /* numbers, the least due first */
    uint32_t heap_n, heap_cap;
    struct bits *everybody;
};

void people_init(struct people *p);
void people_deinit(struct people *p);
/* Bytes of memory behind it. */
size_t people_bytes(const struct people *p);
/* PERSON_NONE: unknown. */
uint32_t people_find(const struct people *p, const struct key_hash *hash);
/* A number for somebody unknown: the one wished, if it is free or beyond all, else any (PERSON_NONE: no wish). */
uint32_t people_add(struct people *p, const struct key_hash *hash, uint32_t wish);
void people_remove(struct people *p, uint32_t number);
/* Sets the moment; TIME_NONE takes the person out of the heap. */
void people_set_due(struct people *p, uint32_t number, int64_t due);
/* The person of the least due, who stays there; PERSON_NONE: nobody is due at any time. */
uint32_t people_first_due(const struct people *p);
bool people_has(const struct people *p, uint32_t number);

#endif
