/* userHash: which accounts a beacon may name where the shop demands the hash, and the secret's file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "collector/user_hash.h"
#include "common/clock.h"
#include "tests/support/decode_case.h"

/* printf %s 42 | openssl dgst -sha256 -hmac shop-secret, and of 43 under shop-secret, and of 42 under other-secret */
#define HASH_42 "9264a94bae6120689ed68fe2de6a68015a0f35b3e19c7e8f4ed4073362c32e6f"
#define HASH_43 "970dbd6dcc26fe8f88246b61fe11ca815fe134872a4cc7cce3c1dc45f94b650c"
#define HASH_OTHER "1d6d43030af351bd69057a8d4ece12dbdb56450905f917365d48c089391c279a"

static char file[] = "/tmp/waymark-hash-XXXXXX";
static struct privacy rules;
static struct decode_notes notes;

static void write_secret(const char *text)
{
    FILE *f = fopen(file, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int setup(void **state)
{
    struct err e = {0};
    int fd = mkstemp(file);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_secret("shop-secret\n");
    assert_int_equal(user_hash_open(file, &rules.user_hash, &e), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    user_hash_free(rules.user_hash);
    unlink(file);
    return 0;
}

static void test_hash(void **state)
{
    struct user_hash *u = rules.user_hash;

    (void)state;
    assert_true(user_hash_is(u, STR_LIT("42"), STR_LIT(HASH_42)));
    assert_false(user_hash_is(u, STR_LIT("43"), STR_LIT(HASH_42)));
    assert_true(user_hash_is(u, STR_LIT("43"), STR_LIT(HASH_43)));
    assert_false(user_hash_is(u, STR_LIT("42"), STR_LIT(HASH_OTHER)));
    assert_false(user_hash_is(u, STR_LIT("42"), STR_LIT("")));
    assert_false(user_hash_is(u, STR_LIT("42"), STR_NONE));
    assert_false(user_hash_is(u, STR_LIT("42"), STR_LIT(HASH_42 "00")));
    assert_false(user_hash_is(u, STR_LIT("42"), ((struct str){HASH_42, 62})));
    assert_false(user_hash_is(u, STR_LIT("42"), STR_LIT("zz")));
    char upper[] = HASH_42;
    for (char *p = upper; *p; p++)
        *p = *p >= 'a' && *p <= 'f' ? (char)(*p - 32) : *p;
    assert_true(user_hash_is(u, STR_LIT("42"), str_of(upper)));
}

#define NONE "id_missing: neither userId nor anonymousId names anybody"

static const struct decode_case alone[] = {
    {"{'type':'page','userId':'42','anonymousId':'d','userHash':'" HASH_42 "'}",
     "page user=42 anon=d ip=192.0.2.1 agent=UA"},
    {"{'type':'page','user_id':'42','anonymousId':'d','user_hash':'" HASH_42 "'}",
     "page user=42 anon=d ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':42,'anonymousId':'d','context':{'userHash':'" HASH_42 "'}}",
     "page user=42 anon=d ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'42','anonymousId':'d'}", "page anon=d ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'42','anonymousId':'d','userHash':''}", "page anon=d ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'42','anonymousId':'d','userHash':7}", "page anon=d ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'42','anonymousId':'d','userHash':'" HASH_43 "'}", "page anon=d ip=192.0.2.1 agent=UA"},
    {"{'type':'page','userId':'42','userHash':'" HASH_43 "'}", NONE},
    {"{'type':'page','userId':'42'}", NONE},
    {"{'type':'alias','userId':'42','previousId':'d','userHash':'" HASH_42 "'}",
     "alias user=42 previous=d ip=192.0.2.1 agent=UA"},
    {"{'type':'alias','to':'42','from':'d','userHash':'" HASH_42 "'}",
     "alias user=42 previous=d ip=192.0.2.1 agent=UA"},
    {"{'type':'alias','to':'42','from':'d'}", "id_missing: an alias needs userId"},
    {"{'type':'alias','userId':'42','previousId':'d','userHash':'x'}", "id_missing: an alias needs userId"},
};

static const struct decode_case batched[] = {
    {"{'batch':[{'type':'page','userId':'42'}],'userHash':'" HASH_42 "'}", "page user=42 ip=192.0.2.1 agent=UA"},
    {"{'batch':[{'type':'page','userId':'42'}],'context':{'user_hash':'" HASH_42 "'}}",
     "page user=42 ip=192.0.2.1 agent=UA"},
    {"{'batch':[{'type':'page','userId':'42','userHash':'x'}],'userHash':'" HASH_42 "'}", NONE},
};

static const struct decode_case trusted[] = {
    {"{'type':'page','userId':'42'}", "page user=42"},
    {"{'type':'page','userId':'42','userHash':'x'}", "page user=42"},
};

static void test_beacons(void **state)
{
    (void)state;
    CASES(alone, decode_event, CASE_ALONE, .privacy = &rules, .notes = &notes);
    CASES(batched, decode_event, CASE_BATCH, .privacy = &rules, .notes = &notes);
    CASES(trusted, decode_event, CASE_ALONE, .privacy = &rules, .notes = &notes, .trust = TRUST_SERVER);
}

static void test_counts(void **state)
{
    static const struct {
        const char *json;
        uint32_t want[IGNORED_REASONS], devices;
    } cases[] = {
        {"{'type':'page','userId':'42','anonymousId':'d'}", {0, 1, 0}, 0},
        {"{'type':'page','userId':'42','anonymousId':'d','userHash':'x'}", {0, 0, 1}, 0},
        {"{'type':'page','userId':'nobody','anonymousId':'d'}", {1, 0, 0}, 0},
        {"{'type':'page','userId':'42','anonymousId':'NULL','userHash':'" HASH_42 "'}", {0, 0, 0}, 1},
        {"{'type':'page','userId':'42'}", {0, 1, 0}, 0}, /* refused, and counted all the same */
    };
    struct case_run run;

    (void)state;
    case_init(&run);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct decode_input in = {.privacy = &rules, .notes = &notes};
        case_run(&run, decode_event, CASE_ALONE, in, str_of(cases[i].json));
        assert_memory_equal(notes.users_ignored, cases[i].want, sizeof notes.users_ignored);
        assert_int_equal(notes.devices_blocked, cases[i].devices);
    }
    case_deinit(&run);
}

/* Whether the hash is taken within some seconds. */
static bool becomes(struct user_hash *u, const char *hash)
{
    for (int64_t end = clock_monotonic() + 10000; clock_monotonic() < end; usleep(20000))
        if (user_hash_is(u, STR_LIT("42"), str_of(hash)))
            return true;
    return false;
}

/* Whether the file is looked at and refused within some seconds, which is said, and the hash stays good all along. */
static bool stays(struct user_hash *u, const char *hash)
{
    FILE *lines = tmpfile();
    int own = dup(STDERR_FILENO);
    bool good = true, refused = false;
    char said[4096] = "";

    assert_true(lines && own >= 0 && dup2(fileno(lines), STDERR_FILENO) >= 0);
    for (int64_t end = clock_monotonic() + 10000; good && !refused && clock_monotonic() < end; usleep(20000)) {
        good = user_hash_is(u, STR_LIT("42"), str_of(hash));
        refused = pread(fileno(lines), said, sizeof said - 1, 0) > 0 && strstr(said, "the one from before stays");
    }
    dup2(own, STDERR_FILENO);
    close(own);
    fclose(lines);
    return refused && user_hash_is(u, STR_LIT("42"), str_of(hash));
}

static void test_file(void **state)
{
    struct user_hash *no = NULL;
    struct err e = {0};

    (void)state;
    write_secret("other-secret");
    assert_true(becomes(rules.user_hash, HASH_OTHER));
    write_secret("short\n");
    assert_true(stays(rules.user_hash, HASH_OTHER));
    assert_int_not_equal(user_hash_open(file, &no, &e), 0);
    assert_null(strstr(e.text, "short"));
    write_secret("shop-secret\r\nmore\n");
    assert_true(becomes(rules.user_hash, HASH_42));
    assert_int_not_equal(user_hash_open("/nobody/made/this", &no, &e), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hash), cmocka_unit_test(test_beacons),
                                       cmocka_unit_test(test_counts), cmocka_unit_test(test_file)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
