/* Backups on disk: a damaged one is refused and named, a failed one leaves nothing behind, and the best one is found.
 */
#include "tests/support/backup_case.h"

/* --- manifests -------------------------------------------------------------------------------------------------- */

static void a_manifest_says_what_there_is(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first"), *copy = path_in(backup, "state");
    struct manifest *m = manifest_of(backup);
    struct state *s;

    assert_string_equal(m->instance, "one");
    assert_string_equal(m->event_log, "embedded");
    assert_string_equal(m->version, WAYMARK_VERSION);
    assert_int_equal(m->partition_count, SHOP_PARTITIONS);
    assert_int_equal(m->partitions_held, SHOP_PARTITIONS);
    assert_int_equal(m->file_count, entries(copy));
    assert_int_equal(entries(backup), 2);
    assert_in_range(clock_now() - m->made_at, 0, WAIT_MS);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
        bool own = false;

        assert_int_equal(manifest_partition(m, p)->offset, shop_offset(t->s, p));
        for (size_t i = 0; i < m->file_count; i++)
            own |= m->files[i].partition == p;
        assert_true(own);
    }
    assert_null(manifest_partition(m, SHOP_PARTITIONS));
    s = shop_open(copy, true);
    shop_verify(s);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        shop_check(s, &t->shop, p);
    state_close(s);
    manifest_free(m);
    free(copy);
    free(backup);
}

static void a_changed_manifest_is_refused(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first"), *path = path_in(backup, "manifest.json");
    struct manifest *m = NULL;
    size_t n;
    char *text = read_file(path, &n);

    for (size_t i = 0; i < n; i++) {
        text[i] = (char)(text[i] ^ (1 << below(8)));
        struct err e = {0};
        int rc = manifest_parse((struct str){text, n}, &m, &e);
        if (rc != -EBADMSG || !e.text[0])
            fail_msg("byte %zu changed: %d", i, rc);
        write_file(path, text, n); /* so that the next one has two changes */
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(manifest_parse((struct str){text, i}, &m, &(struct err){0}), -EBADMSG);
    free(text);
    free(path);
    free(backup);
}

static void a_manifest_cannot_name_files_elsewhere(void **state)
{
    static const char *const names[] = {"../x", "a/b", ".hidden", "", "..", "a\nb"};
    struct manifest_partition p = {.number = 0, .offset = 5};
    struct manifest *back = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct manifest_file f = {.name = names[i], .size = 1, .partition = MANIFEST_SHARED};
        struct manifest m = {.version = "1",
                             .instance = "one",
                             .event_log = "embedded",
                             .topic_prefix = "",
                             .made_at = 1,
                             .partition_count = 1,
                             .partitions = &p,
                             .partitions_held = 1,
                             .files = &f,
                             .file_count = 1};
        struct err e = {0};
        struct buf b;

        buf_init(&b, MIB);
        assert_true(manifest_write(&m, &b));
        assert_int_equal(manifest_parse(buf_str(&b), &back, &e), -EBADMSG);
        buf_reset(&b);
        f.name = "000001.sst";
        assert_true(manifest_write(&m, &b));
        assert_int_equal(manifest_parse(buf_str(&b), &back, &e), 0);
        manifest_free(back);
        buf_deinit(&b);
    }
}

/* --- damage ------------------------------------------------------------------------------------------------------- */

static void must_be_refused(const char *backup, const struct manifest *m, const char *name)
{
    struct err e = {0};

    assert_int_equal(checkpoint_check(backup, m, NULL, NULL, &e), -EBADMSG);
    if (!strstr(e.text, name))
        fail_msg("does not name %s: %s", name, e.text);
}

/* Every byte of small files, some of large ones. */
static void flip_bytes(const char *backup, const struct manifest *m, const struct manifest_file *f)
{
    char *state = path_in(backup, "state"), *path = path_in(state, f->name);
    size_t n, step;
    char *bytes = read_file(path, &n);

    step = n < 40 ? 1 : n / 40;
    for (size_t i = 0; i < n; i += step) {
        char was = bytes[i];

        bytes[i] = (char)(bytes[i] ^ (1 << below(8)));
        write_file(path, bytes, n);
        must_be_refused(backup, m, f->name);
        bytes[i] = was;
    }
    write_file(path, bytes, n);
    must_be_whole(backup, m);
    free(bytes);
    free(path);
    free(state);
}

static void change_size(const char *backup, const struct manifest *m, const struct manifest_file *f)
{
    char *state = path_in(backup, "state"), *path = path_in(state, f->name);
    size_t n;
    char *bytes = read_file(path, &n);

    bytes[n] = 'x';
    write_file(path, bytes, n + 1);
    must_be_refused(backup, m, f->name);
    write_file(path, bytes, n - 1);
    must_be_refused(backup, m, f->name);
    write_file(path, bytes, 0);
    must_be_refused(backup, m, f->name);
    remove(path);
    must_be_refused(backup, m, f->name);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    must_be_refused(backup, m, f->name);
    remove(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    must_be_refused(backup, m, f->name);
    remove(path);
    assert_int_equal(mkdir(path, 0700), 0);
    must_be_refused(backup, m, f->name);
    remove(path);
    write_file(path, bytes, n);
    must_be_whole(backup, m);
    free(bytes);
    free(path);
    free(state);
}

static void damage_is_found_and_named(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first"), *extra = path_in(backup, "state/000999.sst");
    struct manifest *m = manifest_of(backup);

    for (size_t i = 0; i < m->file_count; i++) {
        flip_bytes(backup, m, &m->files[i]);
        change_size(backup, m, &m->files[i]);
    }
    write_file(extra, "x", 1);
    must_be_refused(backup, m, "000999.sst");
    remove(extra);
    must_be_whole(backup, m);
    manifest_free(m);
    free(extra);
    free(backup);
}

static bool stop_at_once(void *arg, uint64_t bytes)
{
    (void)arg;
    (void)bytes;
    return false;
}

static void a_check_can_be_ended(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first");
    struct manifest *m = manifest_of(backup);
    struct copy_progress p = {stop_at_once, NULL};

    assert_int_equal(checkpoint_check(backup, m, NULL, &p, &(struct err){0}), -ECANCELED);
    manifest_free(m);
    free(backup);
}

/* --- making ------------------------------------------------------------------------------------------------------- */

static void names_stay_in_the_folder(void **state)
{
    static const char *const good[] = {"a", "2026-11-22T200926.647Z", "A_b-c.d", "9"};
    static const char *const bad[] = {"", ".", "..", ".a", "a/b", "a b", "a\n", "\xc3\xa4", "a:b", "*"};
    char name[LIMIT_BACKUP_NAME + 2];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(backup_name_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(backup_name_valid(str_of(bad[i])));
    memset(name, 'a', sizeof name);
    assert_true(backup_name_valid((struct str){name, LIMIT_BACKUP_NAME}));
    assert_false(backup_name_valid((struct str){name, LIMIT_BACKUP_NAME + 1}));
}

static void a_name_is_taken_once(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first");
    struct manifest *m = manifest_of(backup);
    struct err e;

    assert_int_equal(make_in(t, t->backups, "first", "one", &e), -EEXIST);
    assert_non_null(strstr(e.text, "first"));
    must_be_whole(backup, m);
    assert_int_equal(entries(t->backups), 1);
    manifest_free(m);
    free(backup);
}

static bool stop_later(void *arg, uint64_t bytes)
{
    int *left = arg;

    (void)bytes;
    return (*left)-- > 0;
}

static void a_failed_one_leaves_nothing(void **state)
{
    struct spot *t = *state;
    char *file = path_in(t->folder, "file"), *below_file = path_in(file, "backups");
    struct err e;
    int left;

    for (int i = 0; i < 4; i++) {
        struct backup_order order = {.state = t->s,
                                     .options = &t->o,
                                     .folder = t->backups,
                                     .name = "first",
                                     .instance = "one",
                                     .event_log = "embedded",
                                     .topic_prefix = "",
                                     .progress = {stop_later, &left}};
        left = i;
        assert_int_equal(backup_make(&order, ignore, NULL, &e), -ECANCELED);
        assert_int_equal(entries(t->backups), 0);
        order.progress = (struct copy_progress){0};
        order.reserve_bytes = UINT64_MAX / 2;
        assert_int_equal(backup_make(&order, ignore, NULL, &e), -ENOSPC);
        assert_non_null(strstr(e.text, "too little space"));
        assert_int_equal(entries(t->backups), 0);
    }
    write_file(file, "x", 1);
    assert_true(make_in(t, below_file, "first", "one", &e) < 0);
    assert_true(e.text[0] != '\0');
    free(make(t, "first"));
    free(below_file);
    free(file);
}

/* What a process that was killed left goes with the next one; what a living one works on stays. */
static void leftovers_are_tidied_away(void **state)
{
    struct spot *t = *state;
    char *left, *gone, *other;

    free(make(t, "first"));
    left = path_in(t->backups, ".making-second");
    gone = path_in(t->backups, ".removing-zero");
    other = path_in(t->backups, "not-ours");
    assert_int_equal(mkdir(left, 0700), 0);
    assert_int_equal(mkdir(gone, 0700), 0);
    assert_int_equal(mkdir(other, 0700), 0);
    free(make(t, "second"));
    assert_int_equal(entries(t->backups), 3);
    assert_int_equal(access(other, F_OK), 0);
    free(left);
    free(gone);
    free(other);
}

/* To another file system the files are copied; nothing is left beside the state. */
static void another_file_system_gets_copies(void **state)
{
    struct spot *t = *state;
    char elsewhere[] = "/dev/shm/waymark-backup-XXXXXX", *backup, *links = path_in(t->state, BACKUP_LINKS);
    struct manifest *m;
    struct stat a, b;
    struct err e;

    if (!mkdtemp(elsewhere)) {
        free(links);
        skip();
    }
    assert_int_equal(stat(elsewhere, &a) | stat(t->state, &b), 0);
    if (make_in(t, elsewhere, "first", "one", &e) != 0)
        fail_msg("%s", e.text);
    backup = path_in(elsewhere, "first");
    m = manifest_of(backup);
    must_be_whole(backup, m);
    assert_int_not_equal(access(links, F_OK), 0);
    manifest_free(m);
    free(backup);
    free(links);
    copy_remove(elsewhere);
    if (a.st_dev == b.st_dev)
        skip();
}

/* --- finding ------------------------------------------------------------------------------------------------------ */

static const struct checkpoint_log own_log = {"embedded", "", SHOP_PARTITIONS};

static int find(struct spot *t, uint32_t partition, int64_t begin, char *path, int64_t *offset)
{
    struct err e = {0};
    int rc = checkpoint_find(t->backups, &own_log, partition, begin, 0, path, 4096, offset, &e);

    if (rc < 0)
        fail_msg("%s", e.text);
    return rc;
}

static void must_find(struct spot *t, uint32_t partition, int64_t begin, const char *want, int64_t at)
{
    char path[4096], *wanted = path_in(t->backups, want);
    int64_t offset = -1;

    assert_int_equal(find(t, partition, begin, path, &offset), 0);
    assert_string_equal(path, wanted);
    assert_int_equal(offset, at);
    free(wanted);
}

static void the_furthest_backup_is_found(void **state)
{
    struct spot *t = *state;
    char *in_b = path_in(t->backups, "b"), path[4096], *damaged;
    int64_t half = shop_offset(t->s, 0), offset = -1;
    size_t n;
    struct err e;
    char *bytes;

    assert_int_equal(find(t, 0, 0, path, &offset), CHECKPOINT_NONE);
    free(make(t, "early"));
    must_find(t, 0, 0, "early/state", half);
    must_find(t, 0, half, "early/state", half);
    assert_int_equal(find(t, 0, half + 1, path, &offset), CHECKPOINT_NONE);
    /* Another instance that shares the folder is further in partition 0, and no further in 1. */
    shop_fold_to(t->s, &t->shop, 0, t->shop.logs[0].n);
    shop_commit(t->s, 0);
    assert_int_equal(make_in(t, in_b, "late", "b", &e), 0);
    must_find(t, 0, 0, "b/late/state", (int64_t)t->shop.logs[0].n);
    /* When it is damaged, what is left is found; a partition whose own files are right is found in it. */
    struct manifest *m = manifest_of((snprintf(path, sizeof path, "%s/late", in_b), path));
    for (size_t i = 0; i < m->file_count; i++) {
        if (m->files[i].partition != 0)
            continue;
        snprintf(path, sizeof path, "%s/late/state/%s", in_b, m->files[i].name);
        bytes = read_file(path, &n);
        bytes[n / 2] ^= 1;
        write_file(path, bytes, n);
        free(bytes);
    }
    manifest_free(m);
    must_find(t, 0, 0, "early/state", half);
    must_find(t, 1, 0, "b/late/state", shop_offset(t->s, 1));
    damaged = path_in(in_b, "late/manifest.json");
    bytes = read_file(damaged, &n);
    bytes[n / 2] ^= 1;
    write_file(damaged, bytes, n);
    must_find(t, 1, 0, "early/state", shop_offset(t->s, 1));
    /* What is being made is none. */
    char *from = path_in(t->backups, "early"), *to = path_in(t->backups, ".making-early");
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(find(t, 1, 0, path, &offset), CHECKPOINT_NONE);
    free(bytes);
    free(damaged);
    free(from);
    free(to);
    free(in_b);
}

static void backups_of_another_log_are_none(void **state)
{
    static const struct checkpoint_log others[] = {
        {"kafka", "", SHOP_PARTITIONS}, {"embedded", "waymark.", SHOP_PARTITIONS}, {"embedded", "", 4}};
    struct spot *t = *state;
    char path[4096];
    int64_t offset;
    struct err e;

    free(make(t, "first"));
    assert_int_equal(find(t, 0, 0, path, &offset), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(checkpoint_find(t->backups, &others[i], 0, 0, 0, path, sizeof path, &offset, &e),
                         CHECKPOINT_NONE);
}

/* Of the log that was lost a backup says nothing, however far it is; it is not the next best either. */
static void backups_of_a_lost_log_are_none(void **state)
{
    struct spot *t = *state;
    char path[4096], *old = make(t, "old"), *new, *manifest;
    int64_t half = shop_offset(t->s, 0), other = shop_offset(t->s, 1), offset = -1;
    struct state_figures f;
    struct err e = {0};
    size_t n;

    assert_int_equal(state_adopt(t->s, 0, 7, &e), 0);
    state_figures(t->s, 0, &f);
    new = make(t, "new");
    struct manifest *m = manifest_of(new);
    assert_int_equal(manifest_partition(m, 0)->offset, 7);
    assert_int_equal(manifest_partition(m, 0)->base, f.base);
    assert_int_equal(manifest_partition(m, 0)->began, 7 - half);
    assert_int_equal(manifest_partition(m, 1)->base, 0);
    manifest_free(m);
    must_find(t, 0, 0, "new/state", f.offset);
    must_find(t, 0, 7, "new/state", f.offset);
    assert_int_equal(find(t, 0, 8, path, &offset), CHECKPOINT_NONE);
    assert_int_equal(checkpoint_find(t->backups, &own_log, 0, 0, f.base + 1, path, sizeof path, &offset, &e),
                     CHECKPOINT_NONE);
    must_find(t, 1, 0, "new/state", other);
    assert_int_equal(checkpoint_newest(t->backups, &own_log, 0, path, sizeof path, &offset, &e), 0);
    assert_string_equal(path, new);
    assert_int_equal(offset, f.offset);
    /* Nor when the one of the log that there is cannot be read. */
    m = manifest_of(new);
    for (size_t i = 0; i < m->file_count; i++) {
        if (m->files[i].partition != 0)
            continue;
        snprintf(path, sizeof path, "%s/state/%s", new, m->files[i].name);
        char *bytes = read_file(path, &n);
        bytes[n / 2] ^= 1;
        write_file(path, bytes, n);
        free(bytes);
    }
    manifest_free(m);
    assert_int_equal(find(t, 0, 0, path, &offset), CHECKPOINT_NONE);
    manifest = path_in(new, "manifest.json");
    assert_int_equal(unlink(manifest), 0);
    must_find(t, 0, 0, "old/state", half);
    free(manifest);
    free(old);
    free(new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(a_manifest_says_what_there_is),
        PLACED(a_changed_manifest_is_refused),
        cmocka_unit_test(a_manifest_cannot_name_files_elsewhere),
        PLACED(damage_is_found_and_named),
        PLACED(a_check_can_be_ended),
        cmocka_unit_test(names_stay_in_the_folder),
        PLACED(a_name_is_taken_once),
        PLACED(a_failed_one_leaves_nothing),
        PLACED(leftovers_are_tidied_away),
        PLACED(another_file_system_gets_copies),
        PLACED(the_furthest_backup_is_found),
        PLACED(backups_of_another_log_are_none),
        PLACED(backups_of_a_lost_log_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
