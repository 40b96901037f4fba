/* Identifiers of exports: normal forms and hashes, against the vectors that the networks publish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/limits.h"
#include "profiler/export_hash.h"
#include "profiler/export_normal.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 16 * MIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

static void same(struct str got, const char *want, const char *of)
{
    if (want ? !str_is(got, want) : str_has(got))
        fail_msg("%s: got %.*s, expected %s", of, got.p ? (int)got.n : 6, got.p ? got.p : "absent",
                 want ? want : "absent");
}

/* --- hashes ---------------------------------------------------------------------------------------------------- */

static void hashed(const char *text, const char *want)
{
    char hex[EXPORT_HEX + 1];

    assert_true(export_sha256(str_of(text), hex));
    assert_string_equal(hex, want);
}

static void the_published_vectors(void **state)
{
    (void)state;
    hashed("john_smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f");
    hashed("16505551212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176");
    hashed("mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec");
}

static void nothing_is_hashed_twice_and_nothing_not_at_all(void **state)
{
    static const char HASH[] = "62A14E44F765419D10FEA99367361A727C12365E2520F32218D505ED9AA0F62F";
    char hex[EXPORT_HEX + 1];

    (void)state;
    hashed(HASH, "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f");
    assert_false(export_sha256(STR_NONE, hex));
    assert_false(export_sha256(STR_LIT(""), hex));
    assert_true(export_hashed(str_of(HASH)));
    assert_false(export_hashed((struct str){HASH, 63}));
    assert_false(export_hashed(STR_LIT("g2a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f")));
}

static void steps_give_the_hash_of_the_whole(void **state)
{
    struct export_hasher h;
    char hex[EXPORT_HEX + 1];

    (void)state;
    export_hasher_begin(&h);
    export_hasher_add(&h, "ma", 2);
    export_hasher_add(&h, NULL, 0);
    export_hasher_add(&h, "ry", 2);
    export_hasher_end(&h, hex);
    assert_string_equal(hex, "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec");
}

static unsigned drawn(const char *group, const char *name, uint32_t millionths, const char *of, unsigned *both)
{
    unsigned n = 0;

    *both = 0;
    for (int i = 0; i < 20000; i++) {
        char id[32];
        int length = snprintf(id, sizeof id, "user:%d", i);
        bool in = export_drawn(group, str_of(name), (struct str){id, (size_t)length}, millionths);

        n += in;
        *both += in && export_drawn(group, str_of(of), (struct str){id, (size_t)length}, millionths);
    }
    return n;
}

/* 20,000 draws: five standard deviations are 1.1 % and 0.5 % of all. */
static void draws_have_their_share_and_differ_by_campaign(void **state)
{
    unsigned both, n = drawn("hold-out", "spring", 100000, "summer", &both);

    (void)state;
    assert_in_range(n, 1780, 2220);
    assert_in_range(both, 120, 290);
    assert_int_equal(drawn("hold-out", "spring", 0, "spring", &both), 0);
    assert_int_equal(drawn("hold-out", "spring", 1000000, "spring", &both), 20000);
    /* who is in a small share is in a greater one, too */
    for (int i = 0; i < 1000; i++) {
        char id[32];
        struct str s = {id, (size_t)snprintf(id, sizeof id, "user:%d", i)};

        if (export_drawn("g", STR_LIT("c"), s, 100000))
            assert_true(export_drawn("g", STR_LIT("c"), s, 200000));
    }
}

static void people_are_known_with_the_key_only(void **state)
{
    unsigned char one[EXPORT_KEY_BYTES] = {1}, other[EXPORT_KEY_BYTES] = {2};
    struct export_person_hash a = export_person_hash(one, STR_LIT("user:1")), b;

    (void)state;
    b = export_person_hash(one, STR_LIT("user:1"));
    assert_memory_equal(&a, &b, sizeof a);
    b = export_person_hash(other, STR_LIT("user:1"));
    assert_memory_not_equal(&a, &b, sizeof a);
    b = export_person_hash(one, STR_LIT("user:2"));
    assert_memory_not_equal(&a, &b, sizeof a);
}

/* --- addresses ------------------------------------------------------------------------------------------------- */

static void email(const char *text, const char *want)
{
    same(normal_email(str_of(text), &arena), want, text);
}

static void addresses_are_lower_case_without_blanks(void **state)
{
    (void)state;
    email(" John_Smith@Gmail.com\n", "john_smith@gmail.com");
    email("john smith@gmail.com", "johnsmith@gmail.com");
    email("\xc2\xa0J\xc3\x96RG@Example.ORG\xe3\x80\x80", "j\xc3\xb6rg@example.org");
    email("a+b.c@x.co", "a+b.c@x.co");
}

static void what_is_no_address_is_nothing(void **state)
{
    static const char *const none[] = {"",          " ",       "john",      "@x.com",    "john@",     "john@x",
                                       "john@.com", "john@x.", "a@b@x.com", "a,b@x.com", "<a@x.com>", "a\x01@x.com"};

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        email(none[i], NULL);
    same(normal_email(STR_NONE, &arena), NULL, "absent");
}

static void gmail(enum gmail_mode mode, const char *text, const char *want)
{
    same(normal_gmail(str_of(text), mode, &arena), want, text);
}

static void gmail_has_three_modes(void **state)
{
    (void)state;
    gmail(GMAIL_NONE, "j.o.hn+x@gmail.com", "j.o.hn+x@gmail.com");
    gmail(GMAIL_DOTS, "j.o.hn+x.y@gmail.com", "john+xy@gmail.com");
    gmail(GMAIL_DOTS_TAG, "j.o.hn+x.y@gmail.com", "john@gmail.com");
    gmail(GMAIL_DOTS_TAG, "j.o.hn+x@googlemail.com", "john@googlemail.com");
    gmail(GMAIL_DOTS_TAG, "j.o.hn+x@example.com", "j.o.hn+x@example.com");
    gmail(GMAIL_DOTS_TAG, "j.o.hn@mail.gmail.com", "j.o.hn@mail.gmail.com");
    gmail(GMAIL_DOTS_TAG, "+x@gmail.com", "+x@gmail.com");
}

/* --- numbers --------------------------------------------------------------------------------------------------- */

static void phone(const char *text, const char *country, const char *want)
{
    same(normal_phone(str_of(text), country, &arena), want, text);
}

static void numbers_become_e164(void **state)
{
    (void)state;
    phone("+1 (650) 555-1212", "", "+16505551212");
    phone("(650) 555-1212", "US", "+16505551212");
    phone("1-650-555-1212", "US", "+16505551212");
    phone("011 44 20 7946 0958", "US", "+442079460958");
    phone("020 7946 0958", "GB", "+442079460958");
    phone("+44 (0)20 7946 0958", "", "+442079460958");
    phone("0044 20 7946 0958", "", "+442079460958");
    phone("442079460958", "GB", "+442079460958");
    phone("07911 123456 ext. 12", "GB", "+447911123456");
    phone("138 1234 5678", "CN", "+8613812345678");
    phone("8613812345678", "CN", "+8613812345678");
    phone("010 6552 9988", "CN", "+861065529988");
    phone("030 901820", "DE", "+4930901820");
    phone("06 698 12345", "IT", "+390669812345");
    phone("06 1 234 5678", "HU", "+3612345678");
    phone("\xef\xbc\x8b\xef\xbc\x98\xef\xbc\x96 138 1234 5678", "", "+8613812345678");
}

static void what_is_no_number_is_nothing(void **state)
{
    (void)state;
    phone("", "GB", NULL);
    phone("call me", "GB", NULL);
    phone("020 7946 0958", "", NULL); /* whose? */
    phone("12", "GB", NULL);
    phone("020 7946 0958 0958 0958", "GB", NULL);
    phone("+0123456789", "", NULL);
    phone("+44+2079460958", "", NULL);
    phone("+12345678901234567890123456789012345678901234567890", "", NULL);
    phone("020 7946 0958", "XX", NULL);
}

static void digits_alone_for_meta(void **state)
{
    (void)state;
    same(normal_phone_digits(STR_LIT("+16505551212")), "16505551212", "digits");
    same(normal_phone_digits(STR_NONE), NULL, "absent");
}

/* --- names and places ------------------------------------------------------------------------------------------ */

static void names_lose_titles_and_suffixes(void **state)
{
    (void)state;
    same(normal_first_name(STR_LIT(" Mrs. Mary  Ann "), &arena), "mary ann", "title");
    same(normal_first_name(STR_LIT("Dr"), &arena), "dr", "only a title");
    same(normal_last_name(STR_LIT("Smith, Jr."), &arena), "smith", "suffix");
    same(normal_last_name(STR_LIT("O'Neil III"), &arena), "o'neil", "suffix");
    same(normal_name_letters(STR_LIT("O'Neil-Smith"), &arena), "oneilsmith", "letters");
    same(normal_name_letters(STR_LIT("Val\xc3\x89RY"), &arena), "val\xc3\xa9ry", "accent");
    same(normal_name_letters(STR_LIT("\xe6\xad\xa3"), &arena), "\xe6\xad\xa3", "another script");
    same(normal_name_letters(STR_LIT("..."), &arena), NULL, "nothing left");
    same(normal_last_name(STR_NONE, &arena), NULL, "absent");
}

static void places_are_as_networks_have_them(void **state)
{
    (void)state;
    same(normal_letters(STR_LIT("San Francisco (CA) 1"), &arena), "sanfranciscoca", "city");
    same(normal_state(STR_LIT("New York"), "US", &arena), "ny", "state");
    same(normal_state(STR_LIT("CA"), "US", &arena), "ca", "state");
    same(normal_state(STR_LIT("Narnia"), "US", &arena), NULL, "no state");
    same(normal_state(STR_LIT("Baden-W\xc3\xbcrttemberg"), "DE", &arena), "badenw\xc3\xbcrttemberg", "land");
    same(normal_zip(STR_LIT(" 94045 "), "US", &arena), "94045", "zip");
    same(normal_zip(STR_LIT("94045-1234"), "US", &arena), "94045-1234", "zip");
    same(normal_zip(STR_LIT("9404"), "US", &arena), NULL, "zip");
    same(normal_zip(STR_LIT("sw1a 1aa"), "GB", &arena), "SW1A1AA", "postcode");
    same(normal_zip_short(STR_LIT("94045-1234"), "US", &arena), "94045", "short zip");
    same(normal_zip_short(STR_LIT("SW1A 1AA"), "GB", &arena), "sw1a1", "short postcode");
    same(normal_zip_short(STR_LIT("10115"), "DE", &arena), "10115", "short code");
    assert_string_equal(normal_country(STR_LIT("us")), "US");
    assert_string_equal(normal_country(STR_LIT("GBR")), "GB");
    assert_string_equal(normal_country(STR_LIT(" United Kingdom ")), "GB");
    assert_string_equal(normal_country(STR_LIT("UK")), "GB");
    assert_string_equal(normal_country(STR_LIT("Atlantis")), "");
    assert_string_equal(normal_country(STR_NONE), "");
}

static void the_rest_of_a_person(void **state)
{
    (void)state;
    same(normal_gender(STR_LIT("Female"), &arena), "f", "gender");
    same(normal_gender(STR_LIT("\xe7\x94\xb7"), &arena), "m", "gender");
    same(normal_gender(STR_LIT("x"), &arena), NULL, "gender");
    same(normal_birthday(STR_LIT("1990-05-01T00:00:00Z"), &arena), "19900501", "birthday");
    same(normal_birthday(STR_LIT("1990-13-01"), &arena), NULL, "no day");
    same(normal_birthday(STR_LIT("05/01/1990"), &arena), NULL, "another form");
    same(normal_device(STR_LIT("6D92078A-8246-4BA4-AE5B-76104861E7DC"), &arena), "6d92078a-8246-4ba4-ae5b-76104861e7dc",
         "device");
    same(normal_device(STR_LIT("00000000-0000-0000-0000-000000000000"), &arena), NULL, "limited tracking");
    same(normal_lower(STR_LIT("\xd0\x96\xce\xa9\xc4\xb0\xff"), &arena), "\xd0\xb6\xcf\x89i\xef\xbf\xbd", "scripts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors),
        cmocka_unit_test(nothing_is_hashed_twice_and_nothing_not_at_all),
        cmocka_unit_test(steps_give_the_hash_of_the_whole),
        cmocka_unit_test(draws_have_their_share_and_differ_by_campaign),
        cmocka_unit_test(people_are_known_with_the_key_only),
        cmocka_unit_test(addresses_are_lower_case_without_blanks),
        cmocka_unit_test(what_is_no_address_is_nothing),
        cmocka_unit_test(gmail_has_three_modes),
        cmocka_unit_test(numbers_become_e164),
        cmocka_unit_test(what_is_no_number_is_nothing),
        cmocka_unit_test(digits_alone_for_meta),
        cmocka_unit_test(names_lose_titles_and_suffixes),
        cmocka_unit_test(places_are_as_networks_have_them),
        cmocka_unit_test(the_rest_of_a_person),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
