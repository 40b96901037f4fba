/* The pair that a server shows, and the thread that looks whether its files have changed. Pool threads use the pair
 * under the lock, the watching thread exchanges it; files are read without it. */
#include "common/tls.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/file_look.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/tls_inside.h"

#define NEVER INT64_MAX
#define DAY_BYTES 11 /* 2026-01-31 */

/* Of the certificate and the key. */
struct looks {
    struct file_look of[2];
};

struct tls {
    const struct conf_tls *files;
    const char *name;
    struct stats_counter *failures;
    pthread_mutex_t lock; /* pair, stop */
    pthread_cond_t wake;
    struct tls_pair *pair;
    bool stop;
    pthread_t thread;
    /* Only the watching thread's. */
    struct looks tried, last; /* what was read; what was there at the last look */
    int64_t retry_at;         /* monotonic ms; NEVER while what was read is good */
    char complaint[256];      /* logged already */
};

int tls_use(struct tls *t, int (*use)(const struct tls_pair *p, void *arg), void *arg)
{
    pthread_mutex_lock(&t->lock);
    int r = use(t->pair, arg);
    pthread_mutex_unlock(&t->lock);
    return r;
}

static void day_of(int64_t ms, char out[DAY_BYTES])
{
    struct buf b;

    buf_init(&b, 64);
    time_write(&b, ms);
    snprintf(out, DAY_BYTES, "%.*s", STR_ARG(buf_str(&b)));
    buf_deinit(&b);
}

/* --- what is wrong with a pair that can be shown */

static void warn_of_dates(const struct tls_pair *p, const char *name, struct buf *out)
{
    char day[DAY_BYTES];
    int64_t now = clock_now(), ends = tls_pair_ends(p);

    day_of(ends, day);
    if (ends <= now)
        buf_addf(out, "%s: the certificate ended on %s: clients refuse it\n", name, day);
    else if (ends - now < LIMIT_TLS_SOON_MS)
        buf_addf(out, "%s: the certificate ends on %s\n", name, day);
    if (tls_pair_begins(p) > now) {
        day_of(tls_pair_begins(p), day);
        buf_addf(out, "%s: the certificate begins on %s only: clients refuse it before\n", name, day);
    }
}

static void warn_of_key(const struct tls_pair *p, const struct conf_tls *files, const char *name, struct buf *out)
{
    struct stat s;

    if (stat(files->key, &s) == 0 && (s.st_mode & S_IRWXO) != 0)
        buf_addf(out, "%s: anybody on this machine may read or change %s: chmod o= it\n", name, files->key);
    if (tls_pair_is_weak(p))
        buf_addf(out, "%s: the key is so short that clients may refuse it\n", name);
}

int tls_check(const struct conf_tls *files, const char *name, struct buf *warnings, struct err *e)
{
    struct tls_pair *p;

    if (!files->certificate)
        return 0;
    int r = tls_pair_read(files, &p, e);
    if (r != 0) {
        err_prefix(e, "%s", name);
        return r;
    }
    warn_of_dates(p, name, warnings);
    warn_of_key(p, files, name, warnings);
    tls_pair_free(p);
    return 0;
}

static void log_warnings(const struct tls *t)
{
    struct buf b;

    buf_init(&b, 4 * KIB);
    warn_of_dates(t->pair, t->name, &b);
    warn_of_key(t->pair, t->files, t->name, &b);
    log_lines(LOG_WARN, "", b.p, b.n);
    buf_deinit(&b);
}

/* --- watching */

static struct looks look_at(const struct conf_tls *files)
{
    return (struct looks){{file_look(files->certificate), file_look(files->key)}};
}

static bool same(const struct looks *a, const struct looks *b)
{
    return file_look_same(&a->of[0], &b->of[0]) && file_look_same(&a->of[1], &b->of[1]);
}

static void exchange(struct tls *t, struct tls_pair *fresh)
{
    pthread_mutex_lock(&t->lock);
    struct tls_pair *before = t->pair;
    t->pair = fresh;
    pthread_mutex_unlock(&t->lock);
    tls_pair_free(before);
}

/* One that is over helps nobody: what is shown may still be good. */
static int read_fresh(const struct conf_tls *files, struct tls_pair **out, struct err *e)
{
    char day[DAY_BYTES];
    int r = tls_pair_read(files, out, e);

    if (r != 0 || tls_pair_ends(*out) > clock_now())
        return r;
    day_of(tls_pair_ends(*out), day);
    err_set(e, "%s: the certificate ended on %s", files->certificate, day);
    tls_pair_free(*out);
    return -EINVAL;
}

static void complain(struct tls *t, const struct err *e)
{
    stats_add(t->failures, 1);
    t->retry_at = clock_monotonic() + LIMIT_TLS_RETRY_MS;
    if (strcmp(t->complaint, e->text) == 0)
        return;
    snprintf(t->complaint, sizeof t->complaint, "%s", e->text);
    log_error("%s: the files have changed and are not taken, the certificate before them stays: %s", t->name, e->text);
}

static void reload(struct tls *t)
{
    struct tls_pair *fresh;
    struct err e = {0};
    char day[DAY_BYTES];

    t->tried = t->last;
    if (read_fresh(t->files, &fresh, &e) != 0) {
        complain(t, &e);
        return;
    }
    t->retry_at = NEVER;
    t->complaint[0] = '\0';
    day_of(tls_pair_ends(fresh), day);
    exchange(t, fresh);
    log_info("%s: another certificate, until %s", t->name, day);
    log_warnings(t);
}

/* Two files are not replaced at one moment: a change is taken when nothing moved between two looks. */
static void look(struct tls *t)
{
    const struct looks now = look_at(t->files);
    bool rests = same(&now, &t->last);

    t->last = now;
    if (rests && (!same(&now, &t->tried) || clock_monotonic() >= t->retry_at))
        reload(t);
}

static void *watch(void *arg)
{
    struct tls *t = arg;

    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        struct timespec at = cond_in(LIMIT_TLS_LOOK_MS);
        if (pthread_cond_timedwait(&t->wake, &t->lock, &at) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&t->lock);
        look(t);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* --- life */

static int read_end(const struct tls_pair *p, void *arg)
{
    *(int64_t *)arg = tls_pair_ends(p);
    return 0;
}

static void write_gauges(struct buf *out, void *arg)
{
    int64_t ends;

    tls_use(arg, read_end, &ends);
    stats_gauge_head(out, "waymark_tls_certificate_expiry_seconds",
                     "When the certificate that is shown ends, in seconds since 1970.");
    stats_gauge_line(out, "waymark_tls_certificate_expiry_seconds", NULL, (double)(ends / 1000));
}

static void tls_free(struct tls *t)
{
    tls_pair_free(t->pair);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->wake);
    free(t);
}

static int start_watch(struct tls *t, struct stats *stats, struct err *e)
{
    log_warnings(t); /* before another thread may exchange the pair */
    int r = pthread_create(&t->thread, NULL, watch, t);
    if (r != 0) {
        err_set(e, "%s: cannot start a thread: %s", t->name, strerror(r));
        return -r;
    }
    stats_add_gauges(stats, write_gauges, t);
    return 0;
}

int tls_start(const struct conf_tls *files, const char *name, struct stats *stats, struct tls **out, struct err *e)
{
    *out = NULL;
    if (!files->certificate)
        return 0;
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->files = files;
    t->name = name;
    t->retry_at = NEVER;
    pthread_mutex_init(&t->lock, NULL);
    cond_init(&t->wake);
    t->failures = stats_counter(stats, "waymark_tls_reload_failed_total", NULL,
                                "Times that changed files of the certificate were read and not taken.");
    /* Before the reading, so that a change in between is seen. */
    t->tried = t->last = look_at(files);
    int r = tls_pair_read(files, &t->pair, e);
    if (r != 0)
        err_prefix(e, "%s", name);
    if (r == 0)
        r = start_watch(t, stats, e);
    if (r == 0)
        *out = t;
    else
        tls_free(t);
    return r;
}

void tls_stop(struct tls *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    tls_free(t);
}
