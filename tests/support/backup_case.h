/* A place with a state of half the events of a shop, and room for backups of it. Include after <cmocka.h>, or first. */
#ifndef WAYMARK_BACKUP_CASE_H
#define WAYMARK_BACKUP_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "common/log.h"
#include "profiler/backup.h"
#include "profiler/backup_make.h"
#include "profiler/checkpoint.h"
#include "profiler/restore.h"
#include "tests/support/shop_case.h"

enum { EVENTS = 600, WAIT_MS = 60000 };

/* --- a place with a state and room for backups ------------------------------------------------------------------ */

struct spot {
    char *folder, *state, *backups;
    struct shop_for_test shop;
    struct state *s;
    struct state_options o;
};

static inline int setup(void **out)
{
    struct spot *t = calloc(1, sizeof *t);

    assert_non_null(t);
    log_set_level(LOG_ERROR);
    t->folder = folder_new();
    t->state = path_in(t->folder, "state");
    t->backups = path_in(t->folder, "backups");
    t->o = shop_options(t->state);
    shop_add(&t->shop, EVENTS);
    t->s = shop_open(t->state, false);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
        shop_fold_to(t->s, &t->shop, p, t->shop.logs[p].n / 2);
        shop_commit(t->s, p);
    }
    *out = t;
    return 0;
}

static inline int teardown(void **state)
{
    struct spot *t = *state;

    state_close(t->s);
    shop_free(&t->shop);
    free(t->state);
    free(t->backups);
    folder_free(t->folder);
    free(t);
    return 0;
}

static inline void ignore(void *arg, const struct manifest *m)
{
    (void)arg;
    (void)m;
}

static inline int make_in(struct spot *t, const char *folder, const char *name, const char *instance, struct err *e)
{
    struct backup_order order = {.state = t->s,
                                 .options = &t->o,
                                 .folder = folder,
                                 .name = name,
                                 .instance = instance,
                                 .event_log = "embedded",
                                 .topic_prefix = ""};

    *e = (struct err){0};
    return backup_make(&order, ignore, NULL, e);
}

/* The path of a fresh backup. */
static inline char *make(struct spot *t, const char *name)
{
    struct err e;

    if (make_in(t, t->backups, name, "one", &e) != 0)
        fail_msg("%s", e.text);
    return path_in(t->backups, name);
}

static inline struct manifest *manifest_of(const char *backup)
{
    struct manifest *m = NULL;
    struct err e = {0};

    if (manifest_read(backup, &m, &e) != 0)
        fail_msg("%s", e.text);
    return m;
}

static inline size_t entries(const char *folder)
{
    DIR *d = opendir(folder);
    const struct dirent *f;
    size_t n = 0;

    while (d && (f = readdir(d)) != NULL)
        n += strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0;
    if (d)
        closedir(d);
    return n;
}

static inline char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *bytes;

    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    bytes = malloc(*n + 1);
    assert_int_equal(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

/* In a file of its own: what was there may be a link to one of the state's. */
static inline void write_file(const char *path, const char *bytes, size_t n)
{
    remove(path);
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static inline void must_be_whole(const char *backup, const struct manifest *m)
{
    struct err e = {0};

    if (checkpoint_check(backup, m, NULL, NULL, &e) != 0)
        fail_msg("%s", e.text);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
