/* Records that partitions send each other, and commands, as bytes: what is packed is unpacked, and no bytes are taken
 * that lack something or could hurt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/codec.h"
#include "proto/internal.h"
#include "proto/keys.h"

static struct event_key key_of(unsigned n)
{
    struct event_key k = {(int64_t)n * 1000 - 3, (int64_t)n * 1001, n % 3, {{0}}};

    memset(k.uid.b, (int)n, UID_BYTES);
    return k;
}

static struct internal_item items[INTERNAL_ITEMS];

/* One of each kind, with all that it may have. */
static struct internal example(enum internal_kind kind)
{
    struct internal r = {.kind = kind,
                         .sender = 3,
                         .version = {INT64_C(1) << 40, 7},
                         .device = STR_LIT("a-device"),
                         .user = STR_LIT("a-user"),
                         .key = key_of(9),
                         .subject = key_of(77).uid,
                         .removed = true,
                         .by_order = true};

    for (unsigned i = 0; i < INTERNAL_ITEMS; i++)
        items[i] = (struct internal_item){key_of(i), i % 2 ? STR_NONE : STR_LIT("an event")};
    if (kind == INTERNAL_STATEMENT || kind == INTERNAL_ORDER) {
        r.device = r.user = STR_NONE;
        r.order_id = STR_LIT("O-1");
        r.owner = STR_LIT("user:a-user");
    }
    if (kind == INTERNAL_STATEMENT || kind == INTERNAL_ORDER || kind == INTERNAL_PLACEMENT) {
        r.items = items;
        r.item_count = INTERNAL_ITEMS;
    }
    if (kind == INTERNAL_LINK || kind == INTERNAL_ERASE || kind == INTERNAL_GRAVE) {
        r.erased = true;
        r.until = -4;
    }
    if (kind == INTERNAL_ERASE || kind == INTERNAL_GRAVE)
        r.alias = STR_LIT("sixteen letters!");
    if (kind == INTERNAL_GRAVE) {
        r.device = STR_LIT("hash of a device");
        r.user = STR_LIT("hash of the user");
        r.links = STR_LIT("links");
    }
    return r;
}

static bool has_key(enum internal_kind kind)
{
    return kind == INTERNAL_LINK || kind == INTERNAL_PAIR;
}

static void same_str(struct str a, struct str b)
{
    assert_int_equal(str_has(a), str_has(b));
    assert_true(str_eq(a, b));
}

static void same(const struct internal *a, const struct internal *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->sender, b->sender);
    assert_int_equal(internal_version_cmp(a->version, b->version), 0);
    same_str(a->device, b->device);
    same_str(a->user, b->user);
    same_str(a->order_id, b->order_id);
    same_str(a->owner, b->owner);
    assert_int_equal(a->removed, b->removed);
    assert_int_equal(a->by_order, b->by_order);
    assert_int_equal(a->erased, b->erased);
    assert_int_equal(a->until, b->until);
    same_str(a->alias, b->alias);
    same_str(a->links, b->links);
    if (has_key(a->kind)) {
        assert_int_equal(event_key_cmp(&a->key, &b->key), 0);
        assert_memory_equal(a->subject.b, b->subject.b, UID_BYTES);
    }
    assert_int_equal(a->item_count, b->item_count);
    for (size_t i = 0; i < a->item_count; i++) {
        assert_int_equal(event_key_cmp(&a->items[i].key, &b->items[i].key), 0);
        same_str(a->items[i].bytes, b->items[i].bytes);
    }
}

static void pack(const struct internal *r, struct buf *b)
{
    buf_reset(b);
    assert_true(internal_pack(r, b));
}

static void each_kind_comes_back_as_it_was(void **state)
{
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 16 * MIB);
    buf_init(&b, MIB);
    for (int kind = INTERNAL_FIRST; kind <= INTERNAL_LAST; kind++) {
        struct internal r = example((enum internal_kind)kind), back;

        pack(&r, &b);
        assert_int_equal(internal_unpack(buf_str(&b), &a, &back), CODEC_OK);
        same(&r, &back);
        r.removed = r.by_order = false;
        r.subject = r.key.uid;
        pack(&r, &b);
        assert_int_equal(internal_unpack(buf_str(&b), &a, &back), CODEC_OK);
        same(&r, &back);
    }
    buf_deinit(&b);
    arena_deinit(&a);
}

static int unpacked(const struct internal *r)
{
    struct internal back;
    struct arena a;
    struct buf b;
    int rc;

    arena_init(&a, 16 * MIB);
    buf_init(&b, 4 * MIB);
    pack(r, &b);
    rc = internal_unpack(buf_str(&b), &a, &back);
    buf_deinit(&b);
    arena_deinit(&a);
    return rc;
}

#define REFUSED_WITHOUT(kind, field, value)                                                                            \
    do {                                                                                                               \
        struct internal r_ = example(kind);                                                                            \
        r_.field = value;                                                                                              \
        assert_int_equal(unpacked(&r_), CODEC_INVALID);                                                                \
    } while (0)

static void what_a_kind_needs_must_be_there(void **state)
{
    static const enum internal_kind of_device[] = {INTERNAL_LINK, INTERNAL_VERDICT, INTERNAL_MEMBER, INTERNAL_PLACEMENT,
                                                   INTERNAL_PAIR};
    static const enum internal_kind of_order[] = {INTERNAL_STATEMENT, INTERNAL_ORDER};

    (void)state;
    for (int i = 0; i < 5; i++) {
        REFUSED_WITHOUT(of_device[i], device, STR_NONE);
        REFUSED_WITHOUT(of_device[i], device, STR_LIT(""));
        REFUSED_WITHOUT(of_device[i], user, STR_NONE);
        REFUSED_WITHOUT(of_device[i], user, STR_LIT(""));
    }
    for (int i = 0; i < 2; i++) {
        REFUSED_WITHOUT(of_order[i], order_id, STR_NONE);
        REFUSED_WITHOUT(of_order[i], owner, STR_NONE);
        REFUSED_WITHOUT(of_order[i], owner, STR_LIT("user:"));
        REFUSED_WITHOUT(of_order[i], owner, STR_LIT("nobody:x"));
        REFUSED_WITHOUT(of_order[i], item_count, 0);
    }
    REFUSED_WITHOUT(INTERNAL_PLACEMENT, item_count, 0);
    REFUSED_WITHOUT(INTERNAL_LINK, kind, INTERNAL_RECOUNT);
    REFUSED_WITHOUT(INTERNAL_LINK, kind, (enum internal_kind)(INTERNAL_RECOUNT + 1));
    REFUSED_WITHOUT(INTERNAL_GRAVE, device, STR_LIT("a-device"));
    REFUSED_WITHOUT(INTERNAL_GRAVE, user, STR_LIT("a-user"));
    REFUSED_WITHOUT(INTERNAL_GRAVE, alias, STR_NONE);
    REFUSED_WITHOUT(INTERNAL_GRAVE, links, STR_NONE);
    REFUSED_WITHOUT(INTERNAL_GRAVE, erased, false);
}

/* Ids become keys and names in buffers of fixed size. */
static void ids_are_as_long_as_those_of_events_at_most(void **state)
{
    static char text[KEY_ID_MAX_BYTES + 6] = "user:";
    struct str longest = {text + 5, KEY_ID_MAX_BYTES}, beyond = {text + 5, KEY_ID_MAX_BYTES + 1};

    (void)state;
    memset(text + 5, 'x', KEY_ID_MAX_BYTES + 1);
    struct internal r = example(INTERNAL_LINK);
    r.device = r.user = longest;
    assert_int_equal(unpacked(&r), CODEC_OK);
    REFUSED_WITHOUT(INTERNAL_LINK, device, beyond);
    REFUSED_WITHOUT(INTERNAL_LINK, user, beyond);
    REFUSED_WITHOUT(INTERNAL_PLACEMENT, device, beyond);
    r = example(INTERNAL_ORDER);
    r.owner = (struct str){text, 5 + KEY_ID_MAX_BYTES};
    assert_int_equal(unpacked(&r), CODEC_OK);
    REFUSED_WITHOUT(INTERNAL_ORDER, owner, ((struct str){text, 6 + KEY_ID_MAX_BYTES}));
    REFUSED_WITHOUT(INTERNAL_STATEMENT, owner, ((struct str){text, 6 + KEY_ID_MAX_BYTES}));
}

static void bytes_cut_short_or_flipped_are_refused_or_complete(void **state)
{
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, 16 * MIB);
    buf_init(&b, MIB);
    for (int kind = INTERNAL_FIRST; kind <= INTERNAL_LAST; kind++) {
        struct internal r = example((enum internal_kind)kind), back;

        if (r.item_count)
            r.item_count = 2;
        pack(&r, &b);
        for (size_t n = 0; n < b.n; n++) {
            for (int flip = -1; flip < 8; flip++) {
                size_t left = flip < 0 ? n : b.n;
                char *bytes = malloc(left + 1);

                memcpy(bytes, b.p, left);
                if (flip >= 0)
                    bytes[n] = (char)(bytes[n] ^ (1 << flip));
                arena_reset(&a);
                if (internal_unpack((struct str){bytes, left}, &a, &back) == CODEC_OK) {
                    assert_in_range(back.kind, INTERNAL_FIRST, INTERNAL_LAST);
                    assert_true(str_has(back.device) || str_has(back.order_id));
                }
                free(bytes);
            }
        }
    }
    buf_deinit(&b);
    arena_deinit(&a);
}

/* What unpacking says of a record with more bytes behind it: of one field the last one counts. */
static int unpacked_with(enum internal_kind kind, struct str more, size_t times)
{
    struct internal r = example(kind), back;
    struct arena a;
    struct buf b;
    int rc;

    arena_init(&a, 16 * MIB);
    buf_init(&b, 4 * MIB);
    pack(&r, &b);
    for (size_t i = 0; i < times; i++)
        assert_true(buf_add_str(&b, more));
    rc = internal_unpack(buf_str(&b), &a, &back);
    buf_deinit(&b);
    arena_deinit(&a);
    return rc;
}

#define KEY_BEGIN "\x08\0\x10\0"
#define UID                                                                                                            \
    "\x22\x10"                                                                                                         \
    "0123456789abcdef"

static void uids_have_their_length(void **state)
{
    static const struct str wrong[] = {
        STR_LIT("\x72\x03"
                "abc"), /* the subject */
        STR_LIT("\x72\0"),
        STR_LIT("\x72\x11"
                "0123456789abcdefg"),
        STR_LIT("\x52\x09" KEY_BEGIN "\x22\x03"
                "abc"), /* the key's */
        STR_LIT("\x52\x17" KEY_BEGIN "\x22\x11"
                "0123456789abcdefg"),
        STR_LIT("\x6a\x0b\x0a\x09" KEY_BEGIN "\x22\x03"
                "abc"), /* an item's */
    };

    (void)state;
    assert_int_equal(unpacked_with(INTERNAL_LINK,
                                   STR_LIT("\x72\x10"
                                           "0123456789abcdef"),
                                   1),
                     CODEC_OK);
    assert_int_equal(unpacked_with(INTERNAL_LINK, STR_LIT("\x52\x16" KEY_BEGIN UID), 1), CODEC_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (unpacked_with(INTERNAL_LINK, wrong[i], 1) != CODEC_INVALID)
            fail_msg("wrong[%zu] is taken", i);
}

/* Far more than are ever written, and the arena is not filled with them. */
static void items_are_bounded(void **state)
{
    const struct str item = STR_LIT("\x6a\x18\x0a\x16" KEY_BEGIN UID);

    (void)state;
    assert_int_equal(unpacked_with(INTERNAL_PLACEMENT, item, 8192 - INTERNAL_ITEMS), CODEC_OK);
    assert_int_equal(unpacked_with(INTERNAL_PLACEMENT, item, 8193 - INTERNAL_ITEMS), CODEC_INVALID);
}

static struct str key_in(const struct internal *r, struct buf *b)
{
    return internal_key(r, b);
}

static void each_kind_goes_to_the_home_of_its_subject(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, KIB);
    for (int kind = INTERNAL_FIRST; kind <= INTERNAL_LAST; kind++) {
        struct internal r = example((enum internal_kind)kind);
        bool of_device = kind == (int)INTERNAL_LINK || kind == (int)INTERNAL_VERDICT || kind == (int)INTERNAL_ERASE;
        struct str want = kind == (int)INTERNAL_GRAVE       ? STR_NONE
                          : of_device                       ? STR_LIT("a-device")
                          : kind == (int)INTERNAL_STATEMENT ? STR_LIT("order:O-1")
                                                            : STR_LIT("a-user");
        same_str(key_in(&r, &b), want);
    }
    struct internal guest = example(INTERNAL_ORDER);
    guest.owner = STR_LIT("anon:order:O-1");
    assert_true(str_eq(key_in(&guest, &b), STR_LIT("order:O-1")));
    buf_deinit(&b);
}

static int command_round(const struct command *c, struct command *back, struct arena *a)
{
    struct buf b;
    int rc;

    buf_init(&b, 128 * KIB);
    assert_true(command_pack(c, &b));
    rc = command_unpack(buf_str(&b), a, back);
    buf_deinit(&b);
    return rc;
}

static void a_command_comes_back_as_it_was(void **state)
{
    static char text[KEY_ID_MAX_BYTES + 1];
    const struct command c = {
        .kind = COMMAND_UNLINK, .time = 123, .device = STR_LIT("d"), .user = STR_LIT("u"), .until = -5};
    struct command back, lacking = c;
    struct arena a;

    (void)state;
    arena_init(&a, 8 * MIB);
    memset(text, 'x', sizeof text);
    assert_int_equal(command_round(&c, &back, &a), CODEC_OK);
    assert_int_equal(back.kind, c.kind);
    assert_int_equal(back.time, c.time);
    assert_int_equal(back.until, c.until);
    same_str(back.device, c.device);
    same_str(back.user, c.user);
    lacking.device = STR_NONE;
    assert_int_equal(command_round(&lacking, &back, &a), CODEC_INVALID);
    lacking = c;
    lacking.user = STR_LIT("");
    assert_int_equal(command_round(&lacking, &back, &a), CODEC_INVALID);
    lacking = c;
    lacking.user = (struct str){text, sizeof text};
    assert_int_equal(command_round(&lacking, &back, &a), CODEC_INVALID);
    arena_deinit(&a);
}

static void a_definition_has_a_kind_and_a_name(void **state)
{
    static char text[DEFINITION_BODY_BYTES + 1];
    const struct command c = {.kind = COMMAND_DEFINE,
                              .time = 124,
                              .definition = DEFINITION_CUTS,
                              .name = STR_LIT("loyal"),
                              .body = {text, DEFINITION_BODY_BYTES}};
    struct command back, one = c;
    struct arena a;

    (void)state;
    arena_init(&a, 8 * MIB);
    memset(text, 'x', sizeof text);
    assert_int_equal(command_round(&c, &back, &a), CODEC_OK);
    assert_true(back.kind == COMMAND_DEFINE && back.definition == DEFINITION_CUTS && back.time == 124);
    assert_true(str_eq(back.name, c.name) && str_eq(back.body, c.body));
    one.body = STR_NONE; /* it is removed */
    assert_int_equal(command_round(&one, &back, &a), CODEC_OK);
    assert_false(str_has(back.body));
    one.body = STR_LIT("");
    assert_int_equal(command_round(&one, &back, &a), CODEC_OK);
    assert_true(str_has(back.body) && back.body.n == 0);
    one.body = (struct str){text, DEFINITION_BODY_BYTES + 1};
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    one = c;
    one.name = (struct str){text, DEFINITION_NAME_BYTES + 1};
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    one.name = STR_NONE;
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    one = c;
    one.user = STR_LIT("u");
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    one = c;
    one.definition = DEFINITION_KINDS;
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    arena_deinit(&a);
}

static void an_erasure_names_one_or_nobody(void **state)
{
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = 124,
                              .until = 123,
                              .hash = STR_LIT("sixteen letters?"),
                              .alias = STR_LIT("sixteen letters!")};
    struct command back, one = c;
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    assert_int_equal(command_round(&c, &back, &a), CODEC_OK);
    assert_false(str_has(back.user) || str_has(back.device));
    assert_true(str_eq(back.hash, c.hash) && str_eq(back.alias, c.alias));
    one.user = STR_LIT("u");
    assert_int_equal(command_round(&one, &back, &a), CODEC_OK);
    assert_true(str_eq(back.user, one.user));
    one.device = STR_LIT("d");
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    one = c;
    one.hash = STR_LIT("short");
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    one = c;
    one.alias = STR_NONE;
    assert_int_equal(command_round(&one, &back, &a), CODEC_INVALID);
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_comes_back_as_it_was),
        cmocka_unit_test(what_a_kind_needs_must_be_there),
        cmocka_unit_test(ids_are_as_long_as_those_of_events_at_most),
        cmocka_unit_test(bytes_cut_short_or_flipped_are_refused_or_complete),
        cmocka_unit_test(uids_have_their_length),
        cmocka_unit_test(items_are_bounded),
        cmocka_unit_test(each_kind_goes_to_the_home_of_its_subject),
        cmocka_unit_test(a_command_comes_back_as_it_was),
        cmocka_unit_test(a_definition_has_a_kind_and_a_name),
        cmocka_unit_test(an_erasure_names_one_or_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
