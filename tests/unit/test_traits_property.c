/* Traits are a function of the set of events: whatever order they come in, steps and the fold of everything say the
 * same. And what the bounds, the keys and the disk do to them. */
#include "tests/support/traits_case.h"

#define COUNT(v) (sizeof(v) / sizeof(v)[0])

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

static void shuffle(struct event *v, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = random_below((unsigned)i);
        struct event swap = v[i - 1];
        v[i - 1] = v[j];
        v[j] = swap;
    }
}

/* --- orders of arrival ----------------------------------------------------------------------------------------- */

/* Sets, set-onces, increments, nulls and consent of few names at few times, in the clear and sealed. */
static const char *random_traits(struct traits_case *c)
{
    static const char *const forms[] = {"{\"%s\":%u}",
                                        "{\"%s\":null,\"k\":%u}",
                                        "{\"$set_once\":{\"%s\":%u}}",
                                        "{\"$add\":{\"%s\":%u}}",
                                        "{\"consent\":{\"%s\":true},\"z\":%u}",
                                        "{\"%s\":\"text\",\"n\":%u}",
                                        "{\"consent\":{\"%s\":null,\"m\":false},\"$add\":{\"k\":%u}}"};
    static const char *const names[] = {"a", "b", "points", "email", "first_name", "created_at", "member_since"};
    char text[200];

    snprintf(text, sizeof text, forms[random_below(COUNT(forms))], names[random_below(COUNT(names))], random_below(50));
    return arena_dup(&c->arena, str_of(text)).p;
}

static struct event random_event(struct traits_case *c, unsigned number)
{
    struct event e = says(100 + random_below(12), number, random_traits(c));
    char text[300];

    if (random_below(4) == 0) {
        snprintf(text, sizeof text, "{\"traits\":%s}", random_traits(c));
        e.sealed = sealed(c, text);
    }
    if (random_below(6) == 0)
        e.consent = STR_LIT("{\"analytics\":true}");
    return e;
}

static void any_order_says_the_same(void **state)
{
    struct traits_case *c = *state;
    struct event e[24];
    size_t refolds = 0;

    for (unsigned seed = 1; seed <= 150; seed++) {
        random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
        size_t n = 1 + random_below(COUNT(e));
        for (size_t i = 0; i < n; i++)
            e[i] = random_event(c, (unsigned)i + 1);
        struct traits want = folded(c, e, n);
        for (int round = 0; round < 4; round++) {
            shuffle(e, n);
            struct traits got = stepped(c, e, n, &refolds);
            if (traits_differ(&want, &got, &c->rules) != 0)
                fail_msg("seed %u: steps say another thing than the fold", seed);
            traits_deinit(&got);
        }
        traits_deinit(&want);
    }
    assert_true(refolds > 0); /* and yet most steps can be taken */
    assert_true(refolds < 150 * 4 * 6);
}

static void what_differs_is_told_apart(void **state)
{
    struct event base[] = {says(100, 1, "{\"a\":1,\"email\":\"x@y.z\"}")};
    struct event others[] = {says(100, 1, "{\"a\":2,\"email\":\"x@y.z\"}"),
                             says(101, 1, "{\"a\":1,\"email\":\"x@y.z\"}"),
                             says(100, 2, "{\"a\":1,\"email\":\"x@y.z\"}"),
                             says(100, 1, "{\"a\":1,\"email\":\"X@y.z\"}"),
                             says(100, 1, "{\"a\":1}"),
                             says(100, 1, "{\"$set_once\":{\"a\":1,\"email\":\"x@y.z\"}}"),
                             says(100, 1, "{\"a\":1,\"email\":null}")};
    struct traits_case *c = *state;
    struct traits a = folded(c, base, 1), same = folded(c, base, 1);

    assert_int_equal(traits_differ(&a, &same, &c->rules), 0); /* with another person's key */
    assert_true(a.n == same.n && memcmp(a.bytes, same.bytes, a.n) != 0);
    for (size_t i = 0; i < COUNT(others); i++) {
        struct traits b = folded(c, &others[i], 1);
        assert_int_equal(traits_differ(&a, &b, &c->rules), 1);
        traits_deinit(&b);
    }
    traits_deinit(&a);
    traits_deinit(&same);
}

/* --- bounds ---------------------------------------------------------------------------------------------------- */

static void names_first_stated_are_kept(void **state)
{
    struct traits_case *c = *state;
    struct event *e = calloc(LIMIT_TRAITS + 40, sizeof *e);
    size_t refolds = 0, n = LIMIT_TRAITS + 40;
    char text[64];

    random_state = 7;
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "{\"n%zu\":%zu,\"m%zu\":1}", i, i, i);
        e[i] = says(1000 + (int64_t)(i / 3), (unsigned)i + 1, arena_dup(&c->arena, str_of(text)).p);
    }
    struct traits want = folded(c, e, n);
    for (int round = 0; round < 2; round++) {
        shuffle(e, n);
        struct traits got = stepped(c, e, n, &refolds);
        assert_int_equal(traits_differ(&want, &got, &c->rules), 0);
        traits_deinit(&got);
    }
    assert_true(str_has(traits_value(&want, &c->rules, STR_LIT("n0"), &c->arena)));
    assert_false(str_has(traits_value(&want, &c->rules, STR_LIT("n539"), &c->arena)));
    traits_deinit(&want);
    free(e);
}

static void large_values_are_as_not_stated(void **state)
{
    struct traits_case *c = *state;
    char *text = malloc(LIMIT_TRAIT_BYTES + 64);
    int at = snprintf(text, 64, "{\"a\":1,\"long\":\"");

    memset(text + at, 'x', LIMIT_TRAIT_BYTES);
    strcpy(text + at + LIMIT_TRAIT_BYTES, "\"}");
    struct event e = says(100, 1, text);
    assert_says(c, &e, 1, "{\"a\":1}");
    text[at + 100] = '"';
    strcpy(text + at + 101, ",\"\\u0000n\":\"\\u0000\"}");
    e = says(100, 1, text);
    struct traits t = stepped(c, &e, 1, NULL);
    assert_true(str_is(traits_value(&t, &c->rules, (struct str){"\0n", 2}, &c->arena), "\"\\u0000\""));
    traits_deinit(&t);
    free(text);
}

/* A path of any length is folded in bounded memory. */
static int decode_many(void *arg, const struct path_entry *entry, struct event *out)
{
    *out = says(entry->key.time, 1 + (unsigned)entry->key.time, arg);
    return 0;
}

static void long_paths_fold(void **state)
{
    struct traits_case *c = *state;
    const size_t n = 3000;
    struct path_entry *path = calloc(n, sizeof *path);
    char *text = malloc(4200);
    struct traits t;

    int at = snprintf(text, 100, "{\"email\":\"z@x.com\",\"$add\":{\"n\":1},\"long\":\"");
    memset(text + at, 'x', 4000);
    strcpy(text + at + 4000, "\"}");
    for (size_t i = 0; i < n; i++)
        path[i].key.time = (int64_t)i;
    struct fold_input in = {.path = path, .path_count = n, .decode = decode_many, .arg = text};
    assert_int_equal(traits_fold(&in, &c->rules, NULL, &t), 0);
    assert_true(str_is(traits_value(&t, &c->rules, STR_LIT("n"), &c->arena), "3000"));
    assert_true(str_is(traits_value(&t, &c->rules, STR_LIT("email"), &c->arena), "\"z@x.com\""));
    assert_true(traits_bytes(&t) < 6000);
    traits_deinit(&t);
    free(text);
    free(path);
}

/* --- bytes ----------------------------------------------------------------------------------------------------- */

static void bytes_come_back(void **state)
{
    struct traits_case *c = *state;
    struct event e[] = {says(-5, 1, "{\"a\":1,\"email\":\"z@x.com\",\"gone\":null,\"$set_once\":{\"b\":2}}"),
                        says(7, 2, "{\"$add\":{\"n\":-1.5},\"consent\":{\"x\":true}}"),
                        says(9, 3, "{\"$add\":{\"n\":1}}")};
    struct traits t = stepped(c, e, COUNT(e), NULL), back, copy;
    struct buf b;

    e[0].source = STR_NONE;
    buf_init(&b, MIB);
    assert_true(traits_pack(&t, &b));
    assert_int_equal(traits_unpack(buf_str(&b), &back), 0);
    assert_true(back.n == t.n && memcmp(back.bytes, t.bytes, t.n) == 0);
    assert_int_equal(traits_copy(&t, &copy), 0);
    assert_true(copy.n == t.n && memcmp(copy.bytes, t.bytes, t.n) == 0);
    assert_null(memmem(b.p, b.n, "z@x.com", 7));
    traits_deinit(&back);
    traits_deinit(&copy);
    traits_deinit(&t);
    assert_int_equal(traits_unpack(STR_LIT(""), &back), 0);
    assert_true(traits_empty(&back));
    /* Bytes that are cut or changed are none, or other ones: never more than was asked for. */
    for (size_t n = 1; n < b.n; n++)
        assert_int_equal(traits_unpack((struct str){b.p, n}, &back), 1);
    random_state = 3;
    for (int i = 0; i < 20000; i++) {
        size_t at = random_below((unsigned)b.n);
        char was = b.p[at];
        b.p[at] = (char)random_below(256);
        int rc = traits_unpack(buf_str(&b), &back);
        assert_true(rc == 0 || rc == 1);
        if (rc == 0 && i % 20 == 0) {
            struct buf json;
            buf_init(&json, MIB);
            traits_write_json(&back, &c->rules, &(struct traits_show){.groups = 127, .clear = true}, &json);
            buf_deinit(&json);
        }
        traits_deinit(&back);
        b.p[at] = was;
    }
    buf_deinit(&b);
}

/* --- keys ------------------------------------------------------------------------------------------------------ */

static void one_person_one_key(void **state)
{
    struct traits_case *c = *state;
    struct event e[] = {says(100, 1, "{\"email\":\"z@x.com\"}"), says(200, 2, "{\"phone\":\"13812345678\"}")};
    struct traits a = stepped(c, e, 1, NULL), b;
    struct path_entry path[2] = {{.key = event_key(&e[0]), .owner = &e[0]}, {.key = event_key(&e[1]), .owner = &e[1]}};
    struct fold_input in = {.path = path, .path_count = 2, .decode = decode_case};

    assert_int_equal(traits_fold(&in, &c->rules, &a, &b), 0);
    assert_int_equal(traits_add_event(&a, &e[1], &c->rules), TRAITS_OK);
    assert_true(a.n == b.n && memcmp(a.bytes, b.bytes, a.n) == 0);
    traits_deinit(&b);
    /* Nothing sealed is left: nor is the key. */
    struct event gone = says(300, 3, "{\"email\":null,\"phone\":null,\"plan\":\"x\"}");
    assert_int_equal(traits_add_event(&a, &gone, &c->rules), TRAITS_OK);
    assert_true(a.n < SEAL_WRAPPED_BYTES + 90);
    traits_deinit(&a);
}

static void keys_rotate(void **state)
{
    struct traits_case *c = *state;
    struct event e[] = {says(100, 1, "{\"email\":\"z@x.com\"}"), says(200, 2, "{\"phone\":\"13812345678\"}")};
    struct traits t = stepped(c, e, 1, NULL);
    struct err err = {0};
    char id[17];

    e[1].sealed = sealed(c, "{\"traits\":{\"qq\":\"12345678\"}}");
    assert_int_equal(seal_keys_rotate(c->folder, SEAL_FILE_MASTER, id, &err), 0);
    assert_int_equal(seal_keys_rotate(c->folder, SEAL_FILE_PROFILER, id, &err), 0);
    seal_keys_refresh(c->keys);
    assert_int_equal(traits_add_event(&t, &e[1], &c->rules), TRAITS_OK);
    assert_shown(c, &t, show_all(true), "{\"email\":\"z@x.com\",\"phone\":\"13812345678\",\"qq\":\"12345678\"}");
    traits_deinit(&t);
}

/* Without the keys nothing stops: what cannot be opened is not shown, and comes back with the keys. */
static void lost_keys_stop_nothing(void **state)
{
    struct traits_case *c = *state;
    struct event e[] = {says(100, 1, "{\"email\":\"z@x.com\",\"plan\":\"a\"}"),
                        says(200, 2, "{\"phone\":\"1\",\"plan\":\"b\"}"), says(300, 3, "{\"plan\":\"c\"}")};
    struct traits_case *other;
    struct traits t = stepped(c, e, 1, NULL);

    traits_case_setup((void **)&other);
    assert_shown(other, &t, show_all(true), "{\"plan\":\"a\"}");
    assert_int_equal(traits_add_event(&t, &e[2], &other->rules), TRAITS_OK); /* nothing personal in it */
    assert_shown(c, &t, show_all(true), "{\"email\":\"z@x.com\",\"plan\":\"c\"}");
    assert_int_equal(traits_add_event(&t, &e[1], &other->rules), TRAITS_REFOLD);
    traits_deinit(&t);
    e[1].sealed = sealed(c, "{\"traits\":{\"qq\":\"12345678\"}}");
    t = folded(other, e, COUNT(e));
    assert_int_equal(atomic_load(&other->counters.unopened), 1);
    assert_shown(other, &t, show_all(true), "{\"email\":\"z@x.com\",\"phone\":\"1\",\"plan\":\"c\"}");
    traits_deinit(&t);
    other->rules.keys = NULL; /* there are none: nothing personal is kept */
    t = stepped(other, e, COUNT(e), NULL);
    assert_shown(other, &t, show_all(true), "{\"plan\":\"c\"}");
    traits_deinit(&t);
    traits_case_teardown((void **)&other);
}

static void what_was_sealed_is_joined(void **state)
{
    struct traits_case *c = *state;
    struct event e = says(100, 1, "{\"a\":1}");

    e.properties = STR_LIT("{}");
    e.sealed =
        sealed(c, "{\"traits\":{\"email\":\"z\"},\"properties\":{\"phone\":1},\"extra\":{\"x\":{}},\"context\":{}}");
    assert_int_equal(traits_unseal(&e, &c->rules, &c->arena), 0);
    assert_true(str_is(e.traits, "{\"a\":1,\"email\":\"z\"}"));
    assert_true(str_is(e.properties, "{\"phone\":1}") && str_is(e.extra, "{\"x\":{}}"));
    assert_false(str_has(e.context));
    e.sealed = STR_LIT("nothing");
    assert_int_equal(traits_unseal(&e, &c->rules, &c->arena), 1);
    assert_int_equal(traits_unseal(&e, NULL, &c->arena), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_says_the_same),
        cmocka_unit_test(what_differs_is_told_apart),
        cmocka_unit_test(names_first_stated_are_kept),
        cmocka_unit_test(large_values_are_as_not_stated),
        cmocka_unit_test(long_paths_fold),
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(one_person_one_key),
        cmocka_unit_test(keys_rotate),
        cmocka_unit_test(lost_keys_stop_nothing),
        cmocka_unit_test(what_was_sealed_is_joined),
    };
    return cmocka_run_group_tests(tests, traits_case_setup, traits_case_teardown);
}
