/* The names under which readers hold records of the embedded log back, and the offsets that they committed. Kept in
 * memory under readers_lock and as facts in the store:
 *
 *   reader/TOPIC/NAME          the name is registered
 *   held/TOPIC/NAME/PARTITION  8 bytes, big-endian: what is before this offset may go
 *
 * A commit reaches the store with the next write of records, or within a second. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/event_log_local.h"
#include "common/log_record.h"
#include "common/num.h"

#define FACT_NAME (LIMIT_LOG_NAME + 48)
#define REGISTERED "reader/"

static bool name_fits(const char *name)
{
    size_t n = strlen(name);

    return n >= 1 && n <= LIMIT_LOG_NAME &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

static struct log_name *find(struct local_log *log, enum log_topic topic, const char *name)
{
    for (size_t i = 0; i < log->n_names; i++)
        if (log->names[i]->topic == topic && strcmp(log->names[i]->name, name) == 0)
            return log->names[i];
    return NULL;
}

static struct log_name *add(struct local_log *log, enum log_topic topic, const char *name)
{
    uint32_t partitions = local_partitions(log, topic);
    struct log_name *n = calloc(1, sizeof(*n));

    assert(log->n_names < LIMIT_LOG_READERS && strlen(name) <= LIMIT_LOG_NAME);
    if (!n || !(n->held = malloc(partitions * sizeof(*n->held))) ||
        !(n->unsaved = calloc(partitions, sizeof(*n->unsaved))))
        abort();
    snprintf(n->name, sizeof(n->name), "%s", name);
    n->topic = topic;
    for (uint32_t p = 0; p < partitions; p++)
        n->held[p] = -1;
    log->names[log->n_names++] = n;
    return n;
}

static void free_name(struct log_name *n)
{
    free(n->held);
    free(n->unsaved);
    free(n);
}

void log_names_free(struct local_log *log)
{
    for (size_t i = 0; i < log->n_names; i++)
        free_name(log->names[i]);
    log->n_names = 0;
}

static int load_held(struct local_log *log, struct log_name *n, struct err *e)
{
    char fact[FACT_NAME];
    struct buf value;
    int r = 0;

    buf_init(&value, 64);
    for (uint32_t p = 0; p < local_partitions(log, n->topic) && r == 0; p++) {
        snprintf(fact, sizeof(fact), "held/%d/%s/%u", (int)n->topic, n->name, p);
        r = log_store_fact(log->store, str_of(fact), &value, e);
        if (r == 0 && value.n == 8)
            n->held[p] = (int64_t)log_get64(value.p);
        if (r == -ENOENT)
            r = 0;
    }
    buf_deinit(&value);
    return r;
}

/* From the rest of a fact's name, TOPIC/NAME. */
static int load_name(struct local_log *log, struct str rest, struct err *e)
{
    char name[LIMIT_LOG_NAME + 1];
    uint64_t topic;

    if (rest.n < 3 || rest.n - 2 > LIMIT_LOG_NAME || rest.p[1] != '/' || num_u64((struct str){rest.p, 1}, &topic) ||
        topic >= LOG_TOPICS || log->n_names == LIMIT_LOG_READERS) {
        err_set(e, "the log in %s has a reader's name that is none", log->path);
        return -EBADMSG;
    }
    memcpy(name, rest.p + 2, rest.n - 2);
    name[rest.n - 2] = '\0';
    struct log_name *n = add(log, (enum log_topic)topic, name);
    n->stored = true;
    return load_held(log, n, e);
}

int log_names_load(struct local_log *log, struct err *e)
{
    struct str prefix = STR_LIT(REGISTERED), name, value;
    struct log_iter *i = log_iter_new_facts(log->store);
    int r;

    log_iter_seek_fact(i, prefix);
    while ((r = log_iter_at_fact(i, &name, &value, e)) == 1 && str_starts(name, prefix)) {
        r = load_name(log, (struct str){name.p + prefix.n, name.n - prefix.n}, e);
        if (r < 0)
            break;
        log_iter_next(i);
    }
    log_iter_free(i);
    return r < 0 ? r : 0;
}

/* The name is on disk before its reader may rely on it. */
static int store_name(struct local_log *log, struct log_name *n, struct err *e)
{
    char fact[FACT_NAME];
    struct log_batch *b;

    if (!log->store) {
        err_set(e, "the log in %s is not open", log->path);
        return -EIO;
    }
    snprintf(fact, sizeof(fact), REGISTERED "%d/%s", (int)n->topic, n->name);
    b = log_batch_new();
    log_batch_put_fact(b, log->store, str_of(fact), STR_LIT(""));
    int r = log_write(log, b, e);
    log_batch_free(b);
    if (r < 0)
        return r;
    pthread_mutex_lock(&log->readers_lock);
    n->stored = true;
    pthread_mutex_unlock(&log->readers_lock);
    return 0;
}

int log_names_register(struct local_log *log, enum log_topic topic, const char *name, struct log_name **out,
                       struct err *e)
{
    struct err own = {0};
    int r = 0;

    if (!e)
        e = &own;
    if (!name_fits(name)) {
        err_set(e, "a reader's name has 1 to %d letters, digits, dots, lines: not \"%.80s\"", LIMIT_LOG_NAME, name);
        return -EINVAL;
    }
    pthread_rwlock_rdlock(&log->store_lock);
    pthread_mutex_lock(&log->readers_lock);
    struct log_name *n = find(log, topic, name);
    if (!n && log->n_names < LIMIT_LOG_READERS)
        n = add(log, topic, name); /* from here on retention does not pass it */
    bool store = n && !n->stored;
    pthread_mutex_unlock(&log->readers_lock);
    if (!n) {
        err_set(e, "the log has %d readers, as many as it may", LIMIT_LOG_READERS);
        r = -ENOSPC;
    } else if (store) {
        r = store_name(log, n, e);
    }
    pthread_rwlock_unlock(&log->store_lock);
    if (r == 0)
        *out = n;
    return r;
}

void log_names_hold(struct local_log *log, struct log_name *name, uint32_t partition, int64_t offset)
{
    pthread_mutex_lock(&log->readers_lock);
    bool changed = name->held[partition] != offset;
    name->held[partition] = offset;
    name->unsaved[partition] = name->unsaved[partition] || changed;
    pthread_mutex_unlock(&log->readers_lock);
    if (!changed)
        return;
    pthread_mutex_lock(&log->queue_lock);
    if (!atomic_exchange(&log->unsaved, true))
        pthread_cond_signal(&log->queue_cond);
    pthread_mutex_unlock(&log->queue_lock);
}

int64_t log_names_held(struct local_log *log, const struct log_name *name, uint32_t partition)
{
    pthread_mutex_lock(&log->readers_lock);
    int64_t held = name->held[partition];
    pthread_mutex_unlock(&log->readers_lock);
    return held;
}

static int64_t least(const struct local_log *log, uint32_t family, int64_t most)
{
    uint32_t partition;
    enum log_topic topic = log_topic_of(log, family, &partition);

    for (size_t i = 0; i < log->n_names; i++)
        if (log->names[i]->topic == topic && log->names[i]->held[partition] < most)
            most = log->names[i]->held[partition];
    return most;
}

int64_t log_names_least(struct local_log *log, uint32_t family, int64_t most)
{
    pthread_mutex_lock(&log->readers_lock);
    int64_t v = least(log, family, most);
    pthread_mutex_unlock(&log->readers_lock);
    return v;
}

/* Under the lock of the names, so that a name that is being registered either holds or sees the new begin. */
int64_t log_names_pass(struct local_log *log, uint32_t family, int64_t offset)
{
    struct log_family *f = &log->family[family];

    pthread_mutex_lock(&log->readers_lock);
    int64_t to = least(log, family, offset), begin = atomic_load(&f->begin);
    if (to > begin)
        atomic_store(&f->begin, begin = to);
    pthread_mutex_unlock(&log->readers_lock);
    return begin;
}

static void save_held(struct local_log *log, struct log_batch *b, const struct log_name *n, uint32_t p)
{
    char fact[FACT_NAME], value[8];

    snprintf(fact, sizeof(fact), "held/%d/%s/%u", (int)n->topic, n->name, p);
    log_put64(value, (uint64_t)n->held[p]);
    log_batch_put_fact(b, log->store, str_of(fact), (struct str){value, sizeof(value)});
}

bool log_names_save(struct local_log *log, struct log_batch *b)
{
    if (!atomic_exchange(&log->unsaved, false))
        return false;
    pthread_mutex_lock(&log->readers_lock);
    for (size_t i = 0; i < log->n_names; i++) {
        struct log_name *n = log->names[i];

        for (uint32_t p = 0; p < local_partitions(log, n->topic); p++) {
            if (n->unsaved[p])
                save_held(log, b, n, p);
            n->unsaved[p] = false;
        }
    }
    pthread_mutex_unlock(&log->readers_lock);
    return true;
}

/* Which ones they were is not kept: all are written again. */
void log_names_save_failed(struct local_log *log)
{
    pthread_mutex_lock(&log->readers_lock);
    for (size_t i = 0; i < log->n_names; i++)
        for (uint32_t p = 0; p < local_partitions(log, log->names[i]->topic); p++)
            log->names[i]->unsaved[p] = log->names[i]->held[p] >= 0;
    pthread_mutex_unlock(&log->readers_lock);
    atomic_store(&log->unsaved, true);
}
