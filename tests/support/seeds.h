/* Seeds of property tests. WAYMARK_SEED=N runs that one alone, WAYMARK_RUNS=N sets how many are run, and one that fails
 * is printed. One thread. */
#ifndef WAYMARK_TEST_SEEDS_H
#define WAYMARK_TEST_SEEDS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t seed_now; /* of the run under way; 0: there is none */

static inline uint64_t number_set(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

/* How many runs there are to be. */
static inline uint64_t seed_runs(uint64_t usual)
{
    return number_set("WAYMARK_SEED", 0) ? 1 : number_set("WAYMARK_RUNS", usual);
}

/* The seed of run i, where the first one's is `first`; it is the one under way then. */
static inline uint64_t seed_of(uint64_t i, uint64_t first)
{
    seed_now = number_set("WAYMARK_SEED", first + i);
    return seed_now;
}

/* A teardown. */
static inline int say_seed(void **state)
{
    (void)state;
    if (seed_now)
        fprintf(stderr, "failed with WAYMARK_SEED=%llu\n", (unsigned long long)seed_now);
    return 0;
}

#endif
