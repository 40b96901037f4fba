/* What becomes of each kind of record when people were erased. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/audience_change.h"
#include "profiler/eraser_judge.h"
#include "profiler/order.h"
#include "proto/codec.h"
#include "proto/internal.h"

#define UNTIL INT64_C(1000000)

/* --- the world: user:gone, anon:gone and the order o1 of nobody were erased up to UNTIL -------------------------- */

struct world {
    struct judge judge;
    bool lives; /* they began anew */
    bool remembers;
    char forgotten[64];
    int fails; /* asking does */
    struct buf bytes, value, first;
};

static int erased(void *arg, struct str profile, const struct event_key *key, bool *out, struct err *e)
{
    const struct world *w = arg;

    (void)e;
    *out = (str_is(profile, "user:gone") || str_is(profile, "anon:gone") || str_is(profile, "anon:order:o1")) &&
           key->time <= UNTIL;
    return w->fails;
}

static int lives(void *arg, struct str profile, bool *out, struct err *e)
{
    const struct world *w = arg;

    (void)e;
    *out = w->lives || !(str_is(profile, "user:gone") || str_is(profile, "anon:gone"));
    return 0;
}

static bool forgotten(void *arg, struct str profile)
{
    struct world *w = arg;

    snprintf(w->forgotten, sizeof w->forgotten, "%.*s", STR_ARG(profile));
    return !w->remembers;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    judge_init(&w->judge, &(struct judge_asks){erased, lives, forgotten, w});
    buf_init(&w->bytes, LIMIT_RECORD_BYTES);
    buf_init(&w->first, LIMIT_RECORD_BYTES);
    buf_init(&w->value, LIMIT_RECORD_BYTES);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    judge_deinit(&w->judge);
    buf_deinit(&w->bytes);
    buf_deinit(&w->first);
    buf_deinit(&w->value);
    free(w);
    return 0;
}

static int judge_keyed(struct world *w, enum log_kind kind, const char *key, struct str value, int64_t time)
{
    const struct log_record r = {.kind = kind, .key = str_of(key), .value = value, .time = time};

    buf_reset(&w->value);
    return judge_record(&w->judge, &r, &w->value);
}

static int judge(struct world *w, enum log_kind kind, struct str value, int64_t time)
{
    return judge_keyed(w, kind, "key", value, time);
}

static struct event event_of(const char *device, const char *user, int64_t time)
{
    struct event e = {.type = EVENT_TRACK,
                      .trust = TRUST_BEACON,
                      .source = STR_LIT("web"),
                      .name = STR_LIT("Seen"),
                      .message_id = STR_LIT("m"),
                      .anonymous_id = str_of(device),
                      .user_id = str_of(user),
                      .time = time,
                      .received = time,
                      .original_time = TIME_NONE,
                      .sent = TIME_NONE};

    e.uid = event_uid(e.source, e.anonymous_id, e.user_id, e.message_id);
    return e;
}

static struct str pack(struct buf *b, const struct event *e)
{
    buf_reset(b);
    assert_true(event_pack(e, b));
    return buf_str(b);
}

static int judge_of(struct world *w, const char *device, const char *user, int64_t time)
{
    struct event e = event_of(device, user, time);

    return judge(w, LOG_KIND_EVENT, pack(&w->bytes, &e), time);
}

static struct internal internal_of(enum internal_kind kind, const char *device, const char *user)
{
    return (struct internal){
        .kind = kind, .sender = 1, .version = {7, 1}, .device = str_of(device), .user = str_of(user)};
}

static int judge_this(struct world *w, const struct internal *i, int64_t time)
{
    buf_reset(&w->bytes);
    assert_true(internal_pack(i, &w->bytes));
    return judge(w, LOG_KIND_INTERNAL, buf_str(&w->bytes), time);
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static void events(void **state)
{
    struct world *w = *state;

    assert_int_equal(judge_of(w, "d", "gone", UNTIL), LOG_BLANK);
    assert_int_equal(judge_of(w, "d", "gone", UNTIL + 1), LOG_KEEP);
    assert_int_equal(judge_of(w, "gone", NULL, UNTIL), LOG_BLANK);
    assert_int_equal(judge_of(w, "gone", "u", UNTIL), LOG_KEEP); /* it is u's */
    assert_int_equal(judge_of(w, "d", "u", UNTIL), LOG_KEEP);
    assert_int_equal(judge_of(w, "d", NULL, UNTIL), LOG_KEEP);
    assert_int_equal(judge(w, LOG_KIND_EVENT, STR_LIT("no event"), 1), LOG_KEEP);
    assert_int_equal(judge(w, LOG_KIND_EVENT, STR_NONE, 1), LOG_KEEP);
}

static void an_alias_is_its_users(void **state)
{
    struct world *w = *state;
    struct event e = event_of(NULL, "gone", UNTIL);

    e.type = EVENT_ALIAS;
    e.previous_id = STR_LIT("d");
    assert_int_equal(judge(w, LOG_KIND_EVENT, pack(&w->bytes, &e), 1), LOG_BLANK);
}

static struct event order_of(const char *device, const char *user)
{
    static const struct item bought = {
        .product_id = STR_LIT("p1"), .price = {true, 5000000}, .extra = STR_LIT("{\"a\":1}")};
    struct event e = event_of(device, user, UNTIL);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order.order_id = STR_LIT("o1");
    e.order.status = STATUS_PAID;
    e.order.coupon = STR_LIT("theirs");
    e.order.total = (struct opt){true, 5000000};
    e.order.has_items = true;
    e.items = &bought;
    e.item_count = 1;
    e.ip = STR_LIT("192.0.2.1");
    return e;
}

/* The shop's figures stay; the person does not. */
static void what_is_left_of_an_order_stays(void **state)
{
    struct world *w = *state;
    struct event left, e = order_of("gone", NULL);
    struct arena a;

    arena_init(&a, MIB);
    assert_int_equal(judge_keyed(w, LOG_KIND_EVENT, "gone", pack(&w->bytes, &e), 1), LOG_REPLACE);
    assert_int_equal(event_unpack(buf_str(&w->value), &a, &left), CODEC_OK);
    assert_true(left.erased && order_is_stripped(&left));
    assert_true(str_is(left.anonymous_id, "order:o1") && !str_has(left.user_id) && !str_has(left.message_id));
    assert_true(!str_has(left.ip) && !str_has(left.order.coupon) && !str_has(left.items[0].extra));
    assert_memory_equal(left.uid.b, e.uid.b, UID_BYTES); /* the record is known again by it */
    assert_true(left.time == e.time && left.order.total.v == 5000000 && left.order.status == STATUS_PAID);
    assert_int_equal(left.item_count, 1);
    assert_true(left.items[0].price.v == 5000000);
    pack(&w->bytes, &left); /* looked at again */
    assert_true(str_eq(buf_str(&w->bytes), buf_str(&w->value)));
    assert_int_equal(judge_keyed(w, LOG_KIND_EVENT, "", buf_str(&w->bytes), 1), LOG_KEEP);
    arena_deinit(&a);
}

/* What folding does not take for a statement must not become one. */
static void what_states_no_order_goes(void **state)
{
    struct world *w = *state;
    struct event e = order_of("d", "gone");

    assert_int_equal(judge_keyed(w, LOG_KIND_EVENT, "gone", pack(&w->bytes, &e), 1), LOG_REPLACE);
    assert_int_equal(judge_keyed(w, LOG_KIND_EVENT, "d", pack(&w->bytes, &e), 1), LOG_BLANK);
    e.type = EVENT_TRACK;
    e.name = STR_LIT("Order Refunded");
    assert_int_equal(judge_keyed(w, LOG_KIND_EVENT, "gone", pack(&w->bytes, &e), 1), LOG_REPLACE);
    e.trust = TRUST_BEACON; /* it may not say so */
    assert_int_equal(judge_keyed(w, LOG_KIND_EVENT, "gone", pack(&w->bytes, &e), 1), LOG_BLANK);
}

static void a_failure_is_passed_on(void **state)
{
    struct world *w = *state;

    w->fails = -5;
    assert_int_equal(judge_of(w, "d", "u", 1), -5);
    assert_true(w->judge.err.text[0]);
}

static void bad_events(void **state)
{
    struct world *w = *state;
    struct event e = event_of("d", "gone", UNTIL);
    struct bad_event bad = {.received = 1, .code = STR_LIT("record_invalid"), .message = STR_LIT("why")};

    bad.bytes = pack(&w->first, &e);
    bad.from_log = true;
    assert_true(bad_event_pack(&bad, &w->bytes));
    assert_int_equal(judge(w, LOG_KIND_BAD, buf_str(&w->bytes), 1), LOG_BLANK);
    bad.sealed = true;
    buf_reset(&w->bytes);
    assert_true(bad_event_pack(&bad, &w->bytes));
    assert_int_equal(judge(w, LOG_KIND_BAD, buf_str(&w->bytes), 1), LOG_KEEP);
    bad.sealed = false;
    bad.bytes = STR_LIT("no event");
    buf_reset(&w->bytes);
    assert_true(bad_event_pack(&bad, &w->bytes));
    assert_int_equal(judge(w, LOG_KIND_BAD, buf_str(&w->bytes), 1), LOG_KEEP);
    assert_int_equal(judge(w, LOG_KIND_BAD, STR_LIT("no record"), 1), LOG_KEEP);
}

/* --- what partitions tell each other ---------------------------------------------------------------------------- */

static void links(void **state)
{
    struct world *w = *state;
    struct internal i = internal_of(INTERNAL_LINK, "d", "gone");

    i.key = (struct event_key){.time = UNTIL, .uid = {{1}}};
    i.subject = i.key.uid;
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_BLANK);
    i.key.time = UNTIL + 1; /* of a life after */
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_KEEP);
    i.kind = INTERNAL_PAIR;
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_KEEP);
    i.key.time = 1;
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_BLANK);
    i.user = STR_LIT("u");
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_KEEP);
    i.user = STR_LIT("gone"); /* one that is taken back names its user */
    i.kind = INTERNAL_LINK;
    i.removed = i.erased = true;
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_BLANK);
    i = internal_of(INTERNAL_LINK, "d", "gone"); /* an alias that is spelled like somebody; the device is others' too */
    i.key = (struct event_key){.time = UNTIL, .uid = {{1}}};
    i.erased = true;
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_KEEP);
    i.device = STR_LIT("gone"); /* one that nobody has any more */
    assert_int_equal(judge_this(w, &i, UNTIL + 9), LOG_BLANK);
}

/* What says no time is of the life that it was written in. */
static void what_has_no_time(void **state)
{
    struct world *w = *state;
    struct internal i = internal_of(INTERNAL_MEMBER, "d", "gone");

    assert_int_equal(judge_this(w, &i, UNTIL), LOG_BLANK);
    assert_int_equal(judge_this(w, &i, UNTIL + 1), LOG_BLANK); /* told after, of before */
    w->lives = true;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_BLANK);
    assert_int_equal(judge_this(w, &i, UNTIL + 1), LOG_KEEP);
    i = internal_of(INTERNAL_ERASE, "d", "gone");
    i.erased = true;
    i.until = UNTIL;
    i.alias = STR_LIT("0123456789abcdef");
    w->lives = false;
    assert_int_equal(judge_this(w, &i, UNTIL + 1), LOG_BLANK);
    i = internal_of(INTERNAL_VERDICT, "gone", "u");
    assert_int_equal(judge_this(w, &i, 1), LOG_KEEP);
}

/* A grave names nobody, and is all that will be known. */
static void graves(void **state)
{
    struct world *w = *state;
    struct internal i = internal_of(INTERNAL_GRAVE, "hash-of-a-device", "hash-of-the-user");

    i.erased = true;
    i.until = UNTIL;
    i.alias = STR_LIT("0123456789abcdef");
    i.links = STR_LIT("links");
    assert_int_equal(judge_this(w, &i, 1), LOG_KEEP);
    assert_int_equal(judge_this(w, &i, UNTIL + 1), LOG_KEEP);
}

static struct internal_item item_of(struct buf *b, const struct event *e)
{
    return (struct internal_item){.key = event_key(e), .bytes = pack(b, e)};
}

/* The parts of a record that are of a later life stay, and it says the same of them. */
static void items(void **state)
{
    struct world *w = *state;
    struct event before = event_of("d", NULL, UNTIL), after = event_of("d", NULL, UNTIL + 1);
    struct internal i = internal_of(INTERNAL_PLACEMENT, "d", "gone"), out;
    struct buf second;
    struct arena a;

    buf_init(&second, LIMIT_RECORD_BYTES);
    arena_init(&a, 16 * MIB);
    struct internal_item both[] = {item_of(&w->first, &before), item_of(&second, &after)};
    i.items = both;
    i.item_count = 1;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_BLANK);
    i.item_count = 2;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_BLANK); /* what came later was taken back from nobody */
    w->lives = true;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_REPLACE);
    assert_int_equal(internal_unpack(buf_str(&w->value), &a, &out), CODEC_OK);
    assert_int_equal(out.item_count, 1);
    assert_int_equal(out.items[0].key.time, UNTIL + 1);
    assert_true(str_eq(out.items[0].bytes, both[1].bytes));
    assert_true(str_is(out.user, "gone") && str_is(out.device, "d"));
    assert_int_equal(out.version.cause, 7);
    i.items = both + 1;
    i.item_count = 1;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_KEEP);
    i.user = STR_LIT("u");
    i.items = both;
    i.item_count = 2;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_KEEP);
    both[0].bytes = STR_NONE; /* taken back */
    i.user = STR_LIT("gone");
    i.item_count = 1;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_BLANK);
    arena_deinit(&a);
    buf_deinit(&second);
}

/* An order that several people speak of. */
static void statements(void **state)
{
    struct world *w = *state;
    struct event theirs = event_of("d", "gone", UNTIL), others = event_of("e", "u", UNTIL);
    struct internal i = {
        .kind = INTERNAL_ORDER, .sender = 1, .version = {7, 1}, .order_id = STR_LIT("o1"), .owner = STR_LIT("user:u")};
    struct buf second;

    buf_init(&second, LIMIT_RECORD_BYTES);
    struct internal_item both[] = {item_of(&w->first, &theirs), item_of(&second, &others)};
    i.items = both;
    i.item_count = 2;
    assert_int_equal(judge_this(w, &i, 1), LOG_REPLACE); /* the owner is another */
    i.item_count = 1;
    assert_int_equal(judge_this(w, &i, 1), LOG_BLANK);
    i.items = both + 1;
    assert_int_equal(judge_this(w, &i, 1), LOG_KEEP);
    i.owner = STR_LIT("user:gone");
    assert_int_equal(judge_this(w, &i, 1), LOG_BLANK);
    others.erased = true; /* what is left is nobody's, whoever is named as its owner */
    both[1] = item_of(&second, &others);
    i.owner = STR_LIT("anon:order:o1");
    assert_int_equal(judge_this(w, &i, 1), LOG_KEEP);
    i.owner = STR_LIT("user:u");
    assert_int_equal(judge_this(w, &i, 1), LOG_KEEP);
    assert_int_equal(judge(w, LOG_KIND_INTERNAL, STR_LIT("nothing"), 1), LOG_KEEP);
    buf_deinit(&second);
}

/* The home of an order names whose it was while it learns step by step that they are erased, after the erasure. */
static void an_order_on_its_way_to_nobody(void **state)
{
    struct world *w = *state;
    struct event left = order_of("order:o1", NULL), after = event_of("e", "u", UNTIL + 1);
    struct internal i = {.kind = INTERNAL_ORDER,
                         .sender = 1,
                         .version = {7, 1},
                         .order_id = STR_LIT("o1"),
                         .owner = STR_LIT("user:gone")};
    struct buf second;

    buf_init(&second, LIMIT_RECORD_BYTES);
    left.erased = true;
    struct internal_item both[] = {item_of(&w->first, &left), item_of(&second, &after)};
    i.items = both;
    i.item_count = 1;
    assert_int_equal(judge_this(w, &i, UNTIL + 5), LOG_BLANK);
    i.item_count = 2; /* a neighbour has spoken of it, too */
    assert_int_equal(judge_this(w, &i, UNTIL + 5), LOG_BLANK);
    both[0].bytes = both[1].bytes = STR_NONE; /* all are taken back */
    assert_int_equal(judge_this(w, &i, UNTIL + 5), LOG_BLANK);
    i.items = both + 1;
    i.item_count = 1;
    assert_int_equal(judge_this(w, &i, UNTIL + 5), LOG_BLANK);
    w->lives = true; /* they have it again */
    assert_int_equal(judge_this(w, &i, UNTIL + 5), LOG_KEEP);
    both[0] = item_of(&w->first, &left);
    both[1] = item_of(&second, &after);
    i.items = both;
    i.item_count = 2;
    assert_int_equal(judge_this(w, &i, UNTIL + 5), LOG_KEEP);
    i.item_count = 1;
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_BLANK);
    i.owner = STR_LIT("anon:gone");
    assert_int_equal(judge_this(w, &i, UNTIL), LOG_BLANK);
    buf_deinit(&second);
}

/* --- commands --------------------------------------------------------------------------------------------------- */

static int judge_order(struct world *w, const struct command *c, int64_t time)
{
    buf_reset(&w->bytes);
    assert_true(command_pack(c, &w->bytes));
    return judge(w, LOG_KIND_COMMAND, buf_str(&w->bytes), time);
}

static void an_erasure_loses_the_name(void **state)
{
    struct world *w = *state;
    struct command out, c = {.kind = COMMAND_ERASE,
                             .time = 5,
                             .user = STR_LIT("gone"),
                             .until = UNTIL,
                             .hash = STR_LIT("fedcba9876543210"),
                             .alias = STR_LIT("0123456789abcdef")};
    struct arena a;

    arena_init(&a, MIB);
    w->remembers = true; /* a copy may be left, and only this says whose */
    assert_int_equal(judge_order(w, &c, 5), LOG_KEEP);
    assert_string_equal(w->forgotten, "user:gone");
    w->remembers = false;
    assert_int_equal(judge_order(w, &c, 5), LOG_REPLACE);
    assert_int_equal(command_unpack(buf_str(&w->value), &a, &out), CODEC_OK);
    assert_false(str_has(out.user) || str_has(out.device));
    assert_true(str_eq(out.hash, c.hash) && str_eq(out.alias, c.alias));
    assert_true(out.kind == COMMAND_ERASE && out.time == 5 && out.until == UNTIL);
    assert_null(memmem(w->value.p, w->value.n, "gone", 4));
    c.user = STR_NONE;
    assert_int_equal(judge_order(w, &c, 5), LOG_KEEP); /* it has no name */
    c.device = STR_LIT("gone");
    assert_int_equal(judge_order(w, &c, 5), LOG_REPLACE);
    assert_string_equal(w->forgotten, "anon:gone");
    arena_deinit(&a);
}

static void unlinks(void **state)
{
    struct world *w = *state;
    struct command c = {.kind = COMMAND_UNLINK, .time = 5, .device = STR_LIT("d"), .user = STR_LIT("gone"), .until = 9};

    assert_int_equal(judge_order(w, &c, UNTIL), LOG_BLANK);
    w->lives = true;
    assert_int_equal(judge_order(w, &c, UNTIL), LOG_BLANK);
    assert_int_equal(judge_order(w, &c, UNTIL + 1), LOG_KEEP);
    c.user = STR_LIT("u");
    assert_int_equal(judge_order(w, &c, UNTIL), LOG_KEEP);
    assert_int_equal(judge(w, LOG_KIND_COMMAND, STR_LIT("nothing"), 1), LOG_KEEP);
}

static void other_kinds_stay(void **state)
{
    struct world *w = *state;
    struct event e = event_of("d", "gone", UNTIL);

    pack(&w->bytes, &e);
    assert_int_equal(judge(w, LOG_KIND_CLAIM, buf_str(&w->bytes), 1), LOG_KEEP);
    assert_int_equal(judge(w, LOG_KIND_AUDIT, buf_str(&w->bytes), 1), LOG_KEEP);
    assert_int_equal(judge(w, LOG_KIND_UNKNOWN, buf_str(&w->bytes), 1), LOG_KEEP);
}

static int judge_membership(struct world *w, const char *id, bool entered, int64_t time)
{
    const struct audience_change c = {.audience = STR_LIT("loyal"),
                                      .id = str_of(id),
                                      .entered = entered,
                                      .time = time,
                                      .entered_at = time,
                                      .rule_version = 1,
                                      .event_time = TIME_NONE};

    buf_reset(&w->bytes);
    assert_true(audience_change_write(&c, &w->bytes));
    return judge(w, LOG_KIND_CHANGE, buf_str(&w->bytes), time);
}

static void changes_of_audiences(void **state)
{
    struct world *w = *state;

    assert_int_equal(judge_membership(w, "user:gone", true, UNTIL), LOG_BLANK);
    assert_int_equal(judge_membership(w, "user:gone", false, UNTIL + 1),
                     LOG_BLANK); /* told late: there is no other life */
    assert_int_equal(judge_membership(w, "user:u", true, UNTIL), LOG_KEEP);
    assert_int_equal(judge_membership(w, NULL, false, UNTIL), LOG_KEEP); /* it names nobody */
    w->lives = true;
    assert_int_equal(judge_membership(w, "user:gone", true, UNTIL), LOG_BLANK);
    assert_int_equal(judge_membership(w, "user:gone", true, UNTIL + 1), LOG_KEEP); /* of the next life */
    assert_int_equal(judge(w, LOG_KIND_CHANGE, STR_LIT("{nothing"), 1), LOG_KEEP);
    w->fails = -EIO;
    assert_int_equal(judge_membership(w, "user:gone", true, UNTIL), -EIO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(events),
                                       TEST(an_alias_is_its_users),
                                       TEST(what_is_left_of_an_order_stays),
                                       TEST(what_states_no_order_goes),
                                       TEST(a_failure_is_passed_on),
                                       TEST(bad_events),
                                       TEST(links),
                                       TEST(what_has_no_time),
                                       TEST(graves),
                                       TEST(items),
                                       TEST(statements),
                                       TEST(an_order_on_its_way_to_nobody),
                                       TEST(an_erasure_loses_the_name),
                                       TEST(unlinks),
                                       TEST(changes_of_audiences),
                                       TEST(other_kinds_stay)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
