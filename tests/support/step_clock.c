/* Preloaded into a program under test: its wall clock is off by as many seconds as stand in the file that STEP_CLOCK names,
 * so that a test can step it. The clocks that only count are left alone, as a real step leaves them; waits until a time of
 * the wall clock are moved back, because the system knows nothing of the step. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define WALL_CLOCK 1000000000 /* s: later than this a time is of the wall clock, not of the uptime */

static volatile int64_t *step;

static int64_t seconds(void)
{
    static volatile int64_t none;

    if (!step) {
        const char *path = getenv("STEP_CLOCK");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *p = fd >= 0 ? mmap(NULL, sizeof *step, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
        if (fd >= 0)
            close(fd);
        step = p == MAP_FAILED ? &none : p;
    }
    return *step;
}

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);

    if (!real)
        *(void **)&real = next("clock_gettime");
    int r = real(id, t);
    if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += seconds();
    return r;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *t = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *t, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, t) == 0 ? base : 0;
}

static struct timespec moved(const struct timespec *t)
{
    return (struct timespec){t->tv_sec > WALL_CLOCK ? t->tv_sec - seconds() : t->tv_sec, t->tv_nsec};
}

int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec t = moved(until);

    if (!real)
        *(void **)&real = next("pthread_cond_timedwait");
    return real(c, m, &t);
}

int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec t = moved(until);

    if (!real)
        *(void **)&real = next("cnd_timedwait");
    return real(c, m, &t);
}

int sem_timedwait(sem_t *s, const struct timespec *until)
{
    static int (*real)(sem_t *, const struct timespec *);
    struct timespec t = moved(until);

    if (!real)
        *(void **)&real = next("sem_timedwait");
    return real(s, &t);
}
