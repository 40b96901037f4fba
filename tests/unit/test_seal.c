/* Sealing: what is sealed opens, and nothing else does; keys are made, changed and read again. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/limits.h"
#include "common/seal.h"

struct place {
    char folder[64];
    struct arena arena;
    struct buf out;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    strcpy(p->folder, "/tmp/waymark-seal-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    arena_init(&p->arena, 16 * MIB);
    buf_init(&p->out, 16 * MIB);
    *state = p;
    return 0;
}

static void file_of(const struct place *p, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", p->folder, name);
}

static int teardown(void **state)
{
    static const char *const names[] = {"profiler.key", "profiler.pub", "master.key", "erasure.key",
                                        "receipt.key",  "receipt.pub",  "aside"};
    struct place *p = *state;
    char path[128];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        file_of(p, names[i], path);
        unlink(path);
    }
    assert_int_equal(rmdir(p->folder), 0); /* nothing else was left there */
    arena_deinit(&p->arena);
    buf_deinit(&p->out);
    free(p);
    return 0;
}

static struct seal_keys *keys_of(const struct place *p, enum seal_part part)
{
    struct seal_keys *k = NULL;
    struct err e = {0};

    if (seal_keys_open(p->folder, part, &k, &e) != 0)
        fail_msg("%s", e.text);
    return k;
}

static struct seal_keys *fresh_keys(const struct place *p)
{
    struct err e = {0};
    bool made = false;

    assert_int_equal(seal_keys_init(p->folder, &made, &e), 0);
    assert_true(made);
    return keys_of(p, SEAL_PROFILER);
}

static struct str sealed_text(struct place *p, struct seal_keys *k, const char *text)
{
    buf_reset(&p->out);
    assert_true(seal_for_profilers(k, str_of(text), &p->out));
    return arena_dup(&p->arena, buf_str(&p->out));
}

static void assert_opens(struct place *p, struct seal_keys *k, struct str sealed, const char *text)
{
    struct str plain;

    assert_int_equal(seal_open(k, sealed, &p->arena, &plain), SEAL_OK);
    assert_true(str_is(plain, text));
}

static void write_text(const struct place *p, const char *name, const char *text, mode_t mode)
{
    char path[128];

    file_of(p, name, path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
}

static size_t list(const struct place *p, struct seal_key_info *out)
{
    struct err e = {0};
    size_t n;

    assert_int_equal(seal_keys_list(p->folder, out, SEAL_FILES * SEAL_KEYS_MAX, &n, &e), 0);
    return n;
}

/* --- to the profilers --- */

static void what_collectors_seal_profilers_open(void **state)
{
    struct place *p = *state;
    struct seal_keys *profiler = fresh_keys(p), *collector = keys_of(p, SEAL_COLLECTOR);
    struct str a = sealed_text(p, collector, "{\"traits\":{\"email\":\"ann@example.com\"}}");
    struct str b = sealed_text(p, collector, "{\"traits\":{\"email\":\"ann@example.com\"}}");
    struct str plain;

    assert_int_equal(a.n, SEAL_OVERHEAD + strlen("{\"traits\":{\"email\":\"ann@example.com\"}}"));
    assert_null(memmem(a.p, a.n, "ann@", 4));
    assert_false(str_eq(a, b)); /* who sees two of them does not see that they say the same */
    assert_opens(p, profiler, a, "{\"traits\":{\"email\":\"ann@example.com\"}}");
    assert_opens(p, profiler, sealed_text(p, collector, ""), "");
    assert_int_equal(seal_open(collector, a, &p->arena, &plain), SEAL_KEY_UNKNOWN); /* it only has the public half */
    seal_keys_free(collector);
    seal_keys_free(profiler);
}

static void damaged_bytes_do_not_open(void **state)
{
    struct place *p = *state;
    struct seal_keys *k = fresh_keys(p);
    struct str a = sealed_text(p, k, "secret"), plain = STR_NONE;
    char *bytes = malloc(a.n);

    for (size_t i = 0; i < a.n; i++) {
        memcpy(bytes, a.p, a.n);
        bytes[i] ^= 1;
        int rc = seal_open(k, (struct str){bytes, a.n}, &p->arena, &plain);
        assert_int_equal(rc, i >= 1 && i <= 8 ? SEAL_KEY_UNKNOWN : SEAL_DAMAGED);
    }
    free(bytes);
    for (size_t n = 0; n < a.n; n++) {
        char *cut = malloc(n ? n : 1); /* so that a read past its end is seen */
        memcpy(cut, a.p, n);
        assert_int_equal(seal_open(k, (struct str){cut, n}, &p->arena, &plain), SEAL_DAMAGED);
        free(cut);
    }
    assert_int_equal(seal_open(k, STR_NONE, &p->arena, &plain), SEAL_DAMAGED);
    assert_false(str_has(plain));
    seal_keys_free(k);
}

static void other_keys_do_not_open(void **state)
{
    struct place *p = *state;
    struct seal_keys *mine = fresh_keys(p), *theirs;
    struct str a = sealed_text(p, mine, "secret"), plain;
    void *other = NULL;

    setup(&other);
    theirs = fresh_keys(other);
    assert_int_equal(seal_open(theirs, a, &p->arena, &plain), SEAL_KEY_UNKNOWN);
    seal_keys_free(theirs);
    seal_keys_free(mine);
    teardown(&other);
}

static void a_full_buffer_is_an_error(void **state)
{
    struct place *p = *state;
    struct seal_keys *k = fresh_keys(p);
    struct seal_person person;
    struct buf small;

    seal_person_new(&person);
    for (int i = 0; i < 3; i++) {
        buf_init(&small, 40);
        assert_false(i == 0   ? seal_for_profilers(k, STR_LIT("secret"), &small)
                     : i == 1 ? seal_person_wrap(k, &person, &small)
                              : seal_person_seal(&person, STR_LIT("email"), STR_LIT("secret"), &small));
        assert_true(small.failed);
        buf_deinit(&small);
    }
    seal_keys_free(k);
}

/* --- keys of persons --- */

static struct str wrapped(struct place *p, struct seal_keys *k, const struct seal_person *person)
{
    buf_reset(&p->out);
    assert_true(seal_person_wrap(k, person, &p->out));
    return arena_dup(&p->arena, buf_str(&p->out));
}

static struct str value(struct place *p, const struct seal_person *person, const char *name, const char *text)
{
    buf_reset(&p->out);
    assert_true(seal_person_seal(person, str_of(name), str_of(text), &p->out));
    return arena_dup(&p->arena, buf_str(&p->out));
}

static void values_of_a_person(void **state)
{
    struct place *p = *state;
    struct seal_person ann, bob;
    struct str plain = STR_NONE, v;

    seal_person_new(&ann);
    seal_person_new(&bob);
    v = value(p, &ann, "email", "ann@example.com");
    assert_int_equal(v.n, SEAL_VALUE_OVERHEAD + strlen("ann@example.com"));
    assert_null(memmem(v.p, v.n, "ann", 3));
    assert_true(str_eq(v, value(p, &ann, "email", "ann@example.com"))); /* one state has one byte string */
    assert_false(str_eq(v, value(p, &ann, "email2", "ann@example.com")));
    assert_false(str_eq(v, value(p, &bob, "email", "ann@example.com")));
    assert_int_equal(seal_person_open(&ann, STR_LIT("email"), v, &p->arena, &plain), SEAL_OK);
    assert_true(str_is(plain, "ann@example.com"));
    assert_int_equal(seal_person_open(&ann, STR_LIT("phone"), v, &p->arena, &plain), SEAL_DAMAGED);
    assert_int_equal(seal_person_open(&bob, STR_LIT("email"), v, &p->arena, &plain), SEAL_DAMAGED);
    for (size_t i = 0; i < v.n; i++) {
        ((char *)v.p)[i] ^= 1;
        assert_int_equal(seal_person_open(&ann, STR_LIT("email"), v, &p->arena, &plain), SEAL_DAMAGED);
        ((char *)v.p)[i] ^= 1;
    }
    for (size_t n = 0; n < v.n; n++)
        assert_int_equal(seal_person_open(&ann, STR_LIT("email"), (struct str){v.p, n}, &p->arena, &plain),
                         SEAL_DAMAGED);
}

static void wrapped_keys(void **state)
{
    struct place *p = *state;
    struct seal_keys *k = fresh_keys(p);
    struct seal_person ann, again;

    seal_person_new(&ann);
    struct str w = wrapped(p, k, &ann);
    assert_int_equal(w.n, SEAL_WRAPPED_BYTES);
    assert_null(memmem(w.p, w.n, ann.key, 8));
    assert_true(str_eq(w, wrapped(p, k, &ann)));
    assert_int_equal(seal_person_unwrap(k, w, &again), SEAL_OK);
    assert_memory_equal(ann.key, again.key, sizeof ann.key);
    for (size_t i = 0; i < w.n; i++) {
        ((char *)w.p)[i] ^= 1;
        assert_int_equal(seal_person_unwrap(k, w, &again), i >= 1 && i <= 8 ? SEAL_KEY_UNKNOWN : SEAL_DAMAGED);
        ((char *)w.p)[i] ^= 1;
    }
    assert_int_equal(seal_person_unwrap(k, (struct str){w.p, w.n - 1}, &again), SEAL_DAMAGED);
    assert_false(seal_person_is_old(k, w));
    seal_keys_free(k);
}

/* --- rotation --- */

static void rotation_without_a_stop(void **state)
{
    struct place *p = *state;
    struct seal_keys *profiler = fresh_keys(p), *collector = keys_of(p, SEAL_COLLECTOR);
    struct seal_person ann, again;
    struct err e = {0};
    char id[17], master[17];

    seal_person_new(&ann);
    struct str before = sealed_text(p, collector, "before"), old = wrapped(p, profiler, &ann);
    assert_int_equal(seal_keys_rotate(p->folder, SEAL_FILE_PROFILER, id, &e), 0);
    assert_int_equal(seal_keys_rotate(p->folder, SEAL_FILE_MASTER, master, &e), 0);
    seal_keys_refresh(collector);
    struct str after = sealed_text(p, collector, "after");
    assert_memory_not_equal(before.p + 1, after.p + 1, 8);
    assert_opens(p, profiler, after, "after"); /* it looks by itself, for a key that it does not know */
    assert_opens(p, profiler, before, "before");
    assert_true(seal_person_is_old(profiler, old));
    assert_int_equal(seal_person_unwrap(profiler, old, &again), SEAL_OK);
    assert_memory_equal(ann.key, again.key, sizeof ann.key);
    struct str renewed = wrapped(p, profiler, &ann);
    assert_false(seal_person_is_old(profiler, renewed));
    assert_int_equal(seal_person_unwrap(profiler, renewed, &again), SEAL_OK);
    seal_keys_free(collector);
    seal_keys_free(profiler);
}

static void keys_are_listed(void **state)
{
    struct place *p = *state;
    static struct seal_key_info info[SEAL_FILES * SEAL_KEYS_MAX];
    struct err e = {0};
    char id[17];

    assert_int_equal(list(p, info), 0);
    seal_keys_free(fresh_keys(p));
    assert_int_equal(list(p, info), SEAL_FILES);
    assert_int_equal(seal_keys_rotate(p->folder, SEAL_FILE_PROFILER, id, &e), 0);
    assert_int_equal(list(p, info), SEAL_FILES + 2);
    assert_string_equal(info[1].id, id);
    assert_true(!info[0].newest && info[1].newest && !info[2].newest && info[3].newest && info[4].newest);
    assert_string_equal(info[3].file, "profiler.pub");
    assert_string_equal(info[3].id, id);
}

static void there_is_a_most(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char id[17];

    seal_keys_free(fresh_keys(p));
    for (int i = 1; i < SEAL_KEYS_MAX; i++)
        assert_int_equal(seal_keys_rotate(p->folder, SEAL_FILE_MASTER, id, &e), 0);
    assert_int_not_equal(seal_keys_rotate(p->folder, SEAL_FILE_MASTER, id, &e), 0);
    seal_keys_free(keys_of(p, SEAL_PROFILER));
}

/* --- files --- */

static void files_are_for_the_owner(void **state)
{
    struct place *p = *state;
    struct seal_keys *k = fresh_keys(p), *no = NULL;
    struct err e = {0};
    struct stat st;
    char path[128];
    bool made;

    file_of(p, "profiler.key", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    chmod(path, 0604);
    assert_int_equal(seal_keys_open(p->folder, SEAL_PROFILER, &no, &e), -EPERM);
    assert_non_null(strstr(e.text, "profiler.key"));
    file_of(p, "master.key", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_not_equal(seal_keys_init(p->folder, &made, &e), 0);
    seal_keys_free(k);
}

static void init_changes_nothing_that_is_there(void **state)
{
    struct place *p = *state;
    struct seal_keys *k = fresh_keys(p);
    struct str a = sealed_text(p, k, "secret");
    struct err e = {0};
    char path[128];
    bool made = true;

    assert_int_equal(seal_keys_init(p->folder, &made, &e), 0);
    assert_false(made);
    file_of(p, "profiler.pub", path);
    unlink(path); /* follows from the secret ones */
    assert_int_equal(seal_keys_init(p->folder, &made, &e), 0);
    assert_true(made);
    seal_keys_free(k);
    k = keys_of(p, SEAL_PROFILER);
    assert_opens(p, k, a, "secret");
    seal_keys_free(k);
}

static void a_lost_key_is_not_hidden(void **state)
{
    struct place *p = *state;
    struct seal_keys *k;
    struct err e = {0};
    char path[128];
    bool made;

    seal_keys_free(fresh_keys(p));
    file_of(p, "master.key", path);
    unlink(path);
    assert_int_equal(seal_keys_open(p->folder, SEAL_PROFILER, &k, &e), -ENOENT);
    assert_non_null(strstr(e.text, "master.key"));
    assert_int_equal(seal_keys_init(p->folder, &made, &e), -ENOENT);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_collector_needs_the_public_ones_only(void **state)
{
    struct place *p = *state;
    struct seal_keys *profiler = fresh_keys(p), *collector = NULL;
    struct err e = {0};
    char path[128], aside[128];
    bool made = true;

    file_of(p, "master.key", path);
    unlink(path);
    file_of(p, "profiler.key", path);
    unlink(path);
    assert_int_equal(seal_keys_init(p->folder, &made, &e), 0);
    assert_false(made); /* the others are elsewhere */
    collector = keys_of(p, SEAL_COLLECTOR);
    assert_opens(p, profiler, sealed_text(p, collector, "secret"), "secret");
    file_of(p, "profiler.pub", path);
    file_of(p, "aside", aside);
    assert_int_equal(rename(path, aside), 0);
    seal_keys_refresh(collector); /* gone: the one from before stays */
    assert_opens(p, profiler, sealed_text(p, collector, "secret"), "secret");
    seal_keys_free(collector);
    assert_int_equal(seal_keys_open(p->folder, SEAL_COLLECTOR, &collector, &e), -ENOENT);
    seal_keys_free(profiler);
}

/* What it seals itself it seals to its newest key, as a collector would. */
static void a_profiler_needs_no_public_ones(void **state)
{
    struct place *p = *state;
    struct seal_keys *k;
    struct err e = {0};
    char path[128], id[17];

    seal_keys_free(fresh_keys(p));
    assert_int_equal(seal_keys_rotate(p->folder, SEAL_FILE_PROFILER, id, &e), 0);
    k = keys_of(p, SEAL_COLLECTOR);
    struct str collectors = sealed_text(p, k, "secret");
    seal_keys_free(k);
    file_of(p, "profiler.pub", path);
    assert_int_equal(unlink(path), 0);
    k = keys_of(p, SEAL_PROFILER);
    struct str own = sealed_text(p, k, "secret");
    assert_memory_equal(own.p + 1, collectors.p + 1, 8);
    assert_opens(p, k, own, "secret");
    assert_opens(p, k, collectors, "secret");
    seal_keys_free(k);
}

static void bad_files_change_nothing(void **state)
{
    static const char *const texts[] = {
        "",
        "# nothing\n",
        "x\n",
        "0011223344556677 AAAA\n",
        "0011223344556677 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", /* another key's id */
        "0011223344556677\n",
    };
    struct place *p = *state;
    struct seal_keys *k = fresh_keys(p), *no = NULL;
    struct str a = sealed_text(p, k, "secret");
    struct err e = {0};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(p, "profiler.key", texts[i], 0600);
        seal_keys_refresh(k);
        assert_opens(p, k, a, "secret");
        assert_int_not_equal(seal_keys_open(p->folder, SEAL_PROFILER, &no, &e), 0);
        assert_non_null(strstr(e.text, "profiler.key"));
        assert_null(strstr(e.text, "AAAA"));
    }
    seal_keys_free(k);
}

static void a_public_key_without_its_secret_is_refused(void **state)
{
    struct place *p = *state;
    struct seal_keys *mine = fresh_keys(p), *no = NULL;
    struct err e = {0};
    void *other = NULL;
    char from[128], to[128];

    setup(&other);
    seal_keys_free(fresh_keys(other));
    file_of(other, "profiler.pub", from);
    file_of(p, "profiler.pub", to);
    assert_int_equal(rename(from, to), 0);
    seal_keys_refresh(mine);
    assert_opens(p, mine, sealed_text(p, mine, "secret"), "secret"); /* nothing that nobody could open */
    assert_int_equal(seal_keys_open(p->folder, SEAL_PROFILER, &no, &e), -EINVAL);
    seal_keys_free(mine);
    teardown(&other);
}

/* A key that one of them overwrote would have sealed something meanwhile. */
static void two_who_rotate_at_once_lose_no_key(void **state)
{
    enum { EACH = 20 };
    static struct seal_key_info info[SEAL_FILES * SEAL_KEYS_MAX];
    struct place *p = *state;
    pid_t children[2];

    seal_keys_free(fresh_keys(p));
    for (int c = 0; c < 2; c++) {
        children[c] = fork();
        assert_true(children[c] >= 0);
        if (children[c] > 0)
            continue;
        int failed = 0;
        for (int i = 0; i < EACH; i++)
            failed |= seal_keys_rotate(p->folder, SEAL_FILE_PROFILER, (char[17]){0}, &(struct err){0});
        _exit(failed != 0);
    }
    for (int c = 0; c < 2; c++) {
        int status = -1;
        assert_int_equal(waitpid(children[c], &status, 0), children[c]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(list(p, info), 2 * (1 + 2 * EACH) + SEAL_FILES - 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_collectors_seal_profilers_open),
        T(damaged_bytes_do_not_open),
        T(other_keys_do_not_open),
        T(a_full_buffer_is_an_error),
        T(values_of_a_person),
        T(wrapped_keys),
        T(rotation_without_a_stop),
        T(keys_are_listed),
        T(there_is_a_most),
        T(files_are_for_the_owner),
        T(init_changes_nothing_that_is_there),
        T(a_lost_key_is_not_hidden),
        T(a_collector_needs_the_public_ones_only),
        T(a_profiler_needs_no_public_ones),
        T(bad_files_change_nothing),
        T(a_public_key_without_its_secret_is_refused),
        T(two_who_rotate_at_once_lose_no_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
