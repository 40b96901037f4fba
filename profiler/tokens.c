/* The set of tokens and the thread that looks after its file. A set never changes: another one takes its place, and the
 * last reader frees the old one. The lock is held for the time of taking a pointer only.
 *
 * The file is read when its times, size or inode are other than when it was read last, and once more when it had been
 * written so shortly before that another writing could show the same time. */
#include "profiler/tokens.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/file_look.h"
#include "common/log.h"

#define LOOK_MS 1000
#define ERRORS_BYTES (16 * KIB)

struct set {
    unsigned readers; /* under the lock; the place in `tokens` counts as one */
    struct conf_tokens *file;
    const struct conf_token *own; /* the configuration's */
    size_t own_count;
};

/* How a file looks from outside. */
struct tokens {
    const struct conf_profiler *conf;
    struct set *set;
    pthread_mutex_t lock; /* of `set`, the counts of readers, `stopping` and `again` */
    pthread_cond_t cond;
    bool stopping, again, started;
    pthread_t thread;
    struct file_look seen; /* the thread's, when the file was read last */
    struct stats_counter *taken, *refused;
    _Atomic int good;
    _Atomic size_t count;
};

/* --- sets ----------------------------------------------------------------------------------------------------- */

static struct set *set_new(const struct conf_profiler *conf, struct conf_tokens *file)
{
    struct set *s = calloc(1, sizeof *s);

    if (!s)
        abort();
    *s = (struct set){.readers = 1, .file = file, .own = conf->tokens, .own_count = conf->token_count};
    return s;
}

static void set_free(struct set *s)
{
    conf_tokens_free(s->file);
    free(s);
}

static struct set *set_hold(struct tokens *t)
{
    pthread_mutex_lock(&t->lock);
    struct set *s = t->set;
    s->readers++;
    pthread_mutex_unlock(&t->lock);
    return s;
}

static void set_let_go(struct tokens *t, struct set *s)
{
    pthread_mutex_lock(&t->lock);
    bool last = --s->readers == 0;
    pthread_mutex_unlock(&t->lock);
    if (last)
        set_free(s);
}

static void set_replace(struct tokens *t, struct set *s)
{
    pthread_mutex_lock(&t->lock);
    struct set *old = t->set;
    t->set = s;
    pthread_mutex_unlock(&t->lock);
    atomic_store(&t->count, s->own_count + (s->file ? s->file->count : 0));
    if (old)
        set_let_go(t, old);
}

/* --- looking up ----------------------------------------------------------------------------------------------- */

/* Looks at every token, so that the time says nothing about which. */
static bool find_in(const struct conf_token *tokens, size_t n, const unsigned char *hash, struct token_found *out)
{
    const struct conf_token *found = NULL;

    for (size_t i = 0; i < n; i++)
        if (sodium_memcmp(hash, tokens[i].sha256, crypto_hash_sha256_BYTES) == 0)
            found = &tokens[i];
    if (!found)
        return false;
    assert(strlen(found->name) < sizeof out->name);
    memset(out, 0, sizeof *out);
    memcpy(out->name, found->name, strlen(found->name));
    out->scopes = found->scopes;
    return true;
}

bool tokens_find(struct tokens *t, struct str secret, struct token_found *out)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct set *s = set_hold(t);

    crypto_hash_sha256(hash, (const unsigned char *)secret.p, secret.n);
    bool found = find_in(s->own, s->own_count, hash, out);
    if (s->file)
        found = find_in(s->file->tokens, s->file->count, hash, out) || found;
    set_let_go(t, s);
    return found;
}

/* --- the file ------------------------------------------------------------------------------------------------- */

/* NULL when it is bad: then `errors` says why. */
static struct conf_tokens *read_file(struct tokens *t, struct buf *errors)
{
    t->seen = file_look(t->conf->tokens_file);
    return conf_tokens_load(t->conf->tokens_file, t->conf->tokens, t->conf->token_count, errors);
}

static void take_file(struct tokens *t)
{
    struct file_look before = t->seen;
    struct buf errors;

    buf_init(&errors, ERRORS_BYTES);
    struct conf_tokens *file = read_file(t, &errors);
    bool news = !file_look_same(&before, &t->seen);
    atomic_store(&t->good, file != NULL);
    if (file) {
        set_replace(t, set_new(t->conf, file));
        if (news) {
            stats_add(t->taken, 1);
            log_info("profiler: %s was read: %zu tokens", t->conf->tokens_file, file->count);
        }
    } else if (news) {
        stats_add(t->refused, 1);
        log_lines(LOG_ERROR, "profiler: ", errors.p, errors.n);
        log_error("profiler: %s has a mistake: the tokens of before go on to count", t->conf->tokens_file);
    }
    buf_deinit(&errors);
}

static bool is_due(struct tokens *t, bool again)
{
    struct file_look now = file_look(t->conf->tokens_file);

    return again || t->seen.fresh || !file_look_same(&now, &t->seen);
}

/* Until the next look. False: the thread is to end. */
static bool rest(struct tokens *t, bool *again)
{
    struct timespec until = cond_in(LOOK_MS);
    int status = 0;

    pthread_mutex_lock(&t->lock);
    while (!t->stopping && !t->again && status == 0)
        status = pthread_cond_timedwait(&t->cond, &t->lock, &until);
    bool go_on = !t->stopping;
    *again = t->again;
    t->again = false;
    pthread_mutex_unlock(&t->lock);
    return go_on;
}

static void *watch(void *arg)
{
    struct tokens *t = arg;
    bool again;

    while (rest(t, &again)) {
        if (again)
            t->seen = (struct file_look){0}; /* so that it is said what became of it */
        if (is_due(t, again))
            take_file(t);
    }
    return NULL;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void write_gauges(struct buf *out, void *arg)
{
    const struct tokens *t = arg;

    stats_gauge_head(out, "waymark_tokens", "Tokens that count.");
    stats_gauge_line(out, "waymark_tokens", NULL, (double)atomic_load(&t->count));
    stats_gauge_head(out, "waymark_tokens_file_good",
                     "1 when profiler.tokens_file as it is counts, or there is none; 0 when it has a mistake.");
    stats_gauge_line(out, "waymark_tokens_file_good", NULL, atomic_load(&t->good));
}

static void add_figures(struct tokens *t, struct stats *stats)
{
    static const char help[] = "Times that profiler.tokens_file had changed and was read: taken, or refused with a "
                               "mistake, when the tokens of before go on to count.";

    t->taken = stats_counter(stats, "waymark_tokens_reloads_total", "result=\"taken\"", help);
    t->refused = stats_counter(stats, "waymark_tokens_reloads_total", "result=\"refused\"", help);
    stats_add_gauges(stats, write_gauges, t);
}

static int first_file(struct tokens *t, struct err *e)
{
    struct conf_tokens *file = NULL;
    struct buf errors;

    buf_init(&errors, ERRORS_BYTES);
    if (t->conf->tokens_file)
        file = read_file(t, &errors);
    bool good = !t->conf->tokens_file || file;
    if (good)
        set_replace(t, set_new(t->conf, file));
    else
        err_set(e, "%.*s", (int)strcspn(errors.p ? errors.p : "", "\n"), errors.p ? errors.p : "");
    buf_deinit(&errors);
    return good ? 0 : -EINVAL;
}

int tokens_start(const struct conf_profiler *conf, struct stats *stats, struct tokens **out, struct err *e)
{
    struct tokens *t = calloc(1, sizeof *t);

    if (!t)
        abort();
    t->conf = conf;
    t->good = 1;
    pthread_mutex_init(&t->lock, NULL);
    cond_init(&t->cond);
    int r = first_file(t, e);
    if (r != 0) {
        tokens_stop(t);
        return r;
    }
    if (conf->tokens_file) {
        if (pthread_create(&t->thread, NULL, watch, t) != 0)
            abort();
        pthread_setname_np(t->thread, "tokens");
        t->started = true;
    }
    add_figures(t, stats);
    *out = t;
    return 0;
}

void tokens_stop(struct tokens *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
    if (t->started)
        pthread_join(t->thread, NULL);
    if (t->set)
        set_let_go(t, t->set);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->cond);
    free(t);
}

void tokens_reload(struct tokens *t)
{
    pthread_mutex_lock(&t->lock);
    t->again = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}
