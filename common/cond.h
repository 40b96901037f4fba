/* Conditions that are waited for on the monotonic clock. */
#ifndef WAYMARK_COND_H
#define WAYMARK_COND_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* The caller destroys it. */
void cond_init(pthread_cond_t *c);
/* For pthread_cond_timedwait: a moment of clock_monotonic, and `ms` from here; below 0 counts as 0. */
struct timespec cond_at(int64_t at);
struct timespec cond_in(int64_t ms);

#endif
