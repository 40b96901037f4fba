/* The keys of erasure: hashes of erased profiles, and signatures of receipts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/seal.h"

static const char *const files[] = {"profiler.key", "profiler.pub", "master.key",
                                    "erasure.key",  "receipt.key",  "receipt.pub"};

struct place {
    char folder[64];
    struct seal_keys *keys;
};

static void path_of(const struct place *p, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", p->folder, name);
}

static void open_keys(struct place *p)
{
    struct err e = {0};

    seal_keys_free(p->keys);
    p->keys = NULL;
    if (seal_keys_open(p->folder, SEAL_PROFILER, &p->keys, &e) != 0)
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    struct err e = {0};
    bool made;

    strcpy(p->folder, "/tmp/waymark-erasure-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    assert_int_equal(seal_keys_init(p->folder, &made, &e), 0);
    open_keys(p);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    char path[128];

    seal_keys_free(p->keys);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        path_of(p, files[i], path);
        unlink(path);
    }
    assert_int_equal(rmdir(p->folder), 0);
    free(p);
    return 0;
}

static void drop(const struct place *p, const char *name)
{
    char path[128];

    path_of(p, name, path);
    assert_int_equal(unlink(path), 0);
}

static int init(const struct place *p, bool *made, struct err *e)
{
    *e = (struct err){0};
    return seal_keys_init(p->folder, made, e);
}

/* --- hashes --------------------------------------------------------------------------------------------------- */

static void a_hash_depends_on_profile_and_key(void **state)
{
    struct place *p = *state;
    unsigned char key[SEAL_ERASURE_KEY_BYTES], again[SEAL_ERASURE_KEY_BYTES], zeros[SEAL_ERASURE_KEY_BYTES] = {0};
    unsigned char a[16], b[16];

    assert_int_equal(seal_erasure_key(p->keys, key), SEAL_OK);
    assert_memory_not_equal(key, zeros, sizeof key);
    open_keys(p);
    assert_int_equal(seal_erasure_key(p->keys, again), SEAL_OK);
    assert_memory_equal(key, again, sizeof key);
    seal_erasure_hash(key, STR_LIT("user:42"), a);
    seal_erasure_hash(again, STR_LIT("user:42"), b);
    assert_memory_equal(a, b, 16);
    seal_erasure_hash(key, STR_LIT("anon:42"), b);
    assert_memory_not_equal(a, b, 16);
    seal_erasure_hash(NULL, STR_LIT("user:42"), b);
    assert_memory_not_equal(a, b, 16);
    seal_erasure_hash(zeros, STR_LIT("user:42"), a);
    assert_memory_equal(a, b, 16);
}

/* BLAKE2b-128 under a key of bytes 0 to 31, by another program. */
static void a_hash_is_blake2b(void **state)
{
    static const unsigned char expected[16] = {0x3f, 0x95, 0x13, 0x7c, 0x11, 0x43, 0x1b, 0xb6,
                                               0x2c, 0x5a, 0x43, 0x48, 0x10, 0x4e, 0x75, 0x4d};
    unsigned char key[32], got[16];

    (void)state;
    for (unsigned i = 0; i < 32; i++)
        key[i] = (unsigned char)i;
    seal_erasure_hash(key, STR_LIT("user:42"), got);
    assert_memory_equal(got, expected, 16);
}

/* --- making --------------------------------------------------------------------------------------------------- */

static void a_folder_of_before_gets_them(void **state)
{
    struct place *p = *state;
    unsigned char key[SEAL_ERASURE_KEY_BYTES];
    struct seal_signature s;
    struct err e;
    bool made;

    drop(p, "erasure.key");
    drop(p, "receipt.key");
    drop(p, "receipt.pub");
    open_keys(p);
    assert_int_equal(seal_erasure_key(p->keys, key), SEAL_KEY_UNKNOWN);
    assert_int_equal(seal_receipt_sign(p->keys, STR_LIT("x"), &s), SEAL_KEY_UNKNOWN);
    assert_int_equal(init(p, &made, &e), 0);
    assert_true(made);
    seal_keys_refresh(p->keys);
    assert_int_equal(seal_erasure_key(p->keys, key), SEAL_OK);
    assert_int_equal(seal_receipt_sign(p->keys, STR_LIT("x"), &s), SEAL_OK);
    assert_int_equal(init(p, &made, &e), 0);
    assert_false(made);
}

static void secrets_are_their_owners(void **state)
{
    struct place *p = *state;
    struct stat st;
    char path[128];

    for (size_t i = 3; i < 6; i++) {
        path_of(p, files[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, i == 5 ? 0644 : 0600);
    }
}

/* With another key the erased would be let in again: that must not happen without a word. */
static void a_lost_key_is_not_made_anew(void **state)
{
    struct place *p = *state;
    char path[128];
    struct err e;
    bool made;

    drop(p, "erasure.key");
    assert_int_equal(init(p, &made, &e), -ENOENT);
    assert_non_null(strstr(e.text, "no erasure.key"));
    path_of(p, "erasure.key", path);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_lost_secret_of_receipts_is_told_of(void **state)
{
    struct place *p = *state;
    struct err e;
    bool made;

    drop(p, "receipt.key");
    assert_int_equal(init(p, &made, &e), -ENOENT);
    assert_non_null(strstr(e.text, "no receipt.key"));
}

static void the_public_half_follows_from_the_secret_one(void **state)
{
    struct place *p = *state;
    struct seal_signature s;
    struct err e;
    bool made;

    drop(p, "receipt.pub");
    assert_int_equal(seal_receipt_sign(p->keys, STR_LIT("x"), &s), SEAL_OK);
    assert_int_equal(seal_receipt_verify(p->folder, STR_LIT("x"), &s, &e), -ENOENT);
    assert_int_equal(init(p, &made, &e), 0);
    assert_true(made);
    assert_int_equal(seal_receipt_verify(p->folder, STR_LIT("x"), &s, &e), SEAL_OK);
}

/* --- receipts ------------------------------------------------------------------------------------------------- */

static void a_signature_holds_for_its_bytes_only(void **state)
{
    struct place *p = *state;
    struct seal_signature s, other;
    unsigned char pub[SEAL_RECEIPT_PUB_BYTES];
    struct err e = {0};
    char id[17];

    assert_int_equal(seal_receipt_sign(p->keys, STR_LIT("{\"a\":1}"), &s), SEAL_OK);
    assert_int_equal(seal_receipt_verify(p->folder, STR_LIT("{\"a\":1}"), &s, &e), SEAL_OK);
    assert_int_equal(seal_receipt_verify(p->folder, STR_LIT("{\"a\":2}"), &s, &e), SEAL_DAMAGED);
    assert_int_equal(seal_receipt_verify(p->folder, STR_LIT(""), &s, &e), SEAL_DAMAGED);
    for (size_t i = 0; i < sizeof s.bytes; i += 7) {
        other = s;
        other.bytes[i] ^= 1;
        assert_int_equal(seal_receipt_verify(p->folder, STR_LIT("{\"a\":1}"), &other, &e), SEAL_DAMAGED);
    }
    assert_int_equal(seal_receipt_pub(p->folder, id, pub, &e), 0);
    assert_string_equal(id, s.id);
    assert_memory_equal(pub, s.pub, sizeof pub);
    other = s;
    other.id[0] = other.id[0] == '0' ? '1' : '0';
    assert_int_equal(seal_receipt_verify(p->folder, STR_LIT("{\"a\":1}"), &other, &e), SEAL_KEY_UNKNOWN);
    strcpy(other.id, "no id");
    assert_int_equal(seal_receipt_verify(p->folder, STR_LIT("{\"a\":1}"), &other, &e), SEAL_KEY_UNKNOWN);
}

static void they_are_listed(void **state)
{
    struct place *p = *state;
    struct seal_key_info info[SEAL_FILES * 2];
    struct err e = {0};
    unsigned seen = 0;
    size_t n;

    assert_int_equal(seal_keys_list(p->folder, info, SEAL_FILES * 2, &n, &e), 0);
    assert_int_equal(n, SEAL_FILES);
    for (size_t i = 0; i < n; i++)
        for (unsigned f = 0; f < SEAL_FILES; f++)
            seen |= strcmp(info[i].file, files[f]) == 0 ? 1u << f : 0;
    assert_int_equal(seen, 63);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hash_depends_on_profile_and_key, setup, teardown),
        cmocka_unit_test(a_hash_is_blake2b),
        cmocka_unit_test_setup_teardown(a_folder_of_before_gets_them, setup, teardown),
        cmocka_unit_test_setup_teardown(secrets_are_their_owners, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_key_is_not_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lost_secret_of_receipts_is_told_of, setup, teardown),
        cmocka_unit_test_setup_teardown(the_public_half_follows_from_the_secret_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signature_holds_for_its_bytes_only, setup, teardown),
        cmocka_unit_test_setup_teardown(they_are_listed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
