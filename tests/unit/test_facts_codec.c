/* Facts as bytes, also hostile ones, and as JSON. */
#include "profiler/facts_maps.h"
#include "tests/support/facts_case.h"
#include "waymark.pb-c.h"

/* --- bytes ---------------------------------------------------------------------------------------------------- */

#define LEAST ((money)((unsigned __int128)1 << 127))

/* Facts with something in every place. */
static struct facts full_facts(void)
{
    struct item items[] = {
        {.product_id = STR_LIT("p1"), .category = STR_LIT("shoes"), .brand = STR_LIT("a\0b"), .price = AMOUNT(10)},
        {.product_id = STR_LIT("p2"), .category = STR_LIT("hats"), .quantity = PIECES(-3), .cost = AMOUNT(2)},
        {.product_id = STR_LIT("p3"), .category = STR_LIT("bags"), .color = STR_LIT("*")},
    };
    struct event v[] = {campaign_page("spring", 1000), track_with("Product Viewed", 2000, items, 3),
                        track_with("Product Added", 3000, items, 1), event_of(EVENT_TRACK, "Checkout Started", 4000)};
    struct order orders[] = {counted_order("GBP", 5000, 12345), with_refund(counted_order("EUR", 9000, 7), 7),
                             credit_note("USD", 3), cancelled_order(9500, 1)};
    struct facts f;

    v[0].module = STR_LIT("home");
    v[3].shared_by = STR_LIT("ann");
    orders[0].items = items;
    orders[0].item_count = 2;
    orders[0].channel = STR_LIT("web");
    orders[1].place.city = STR_LIT("York");
    f = fold_with(&two_names, v, COUNT(v), orders, COUNT(orders));
    f.gross = LEAST; /* as far as sums go */
    return f;
}

static void test_bytes_come_back(void **state)
{
    struct facts f = full_facts(), again;
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    assert_int_equal(facts_unpack(packed(&f, &b), &again), 0);
    assert_same_facts(&f, &again);
    assert_true(again.gross == LEAST);
    assert_true(str_is(again.referred_by, "ann"));
    assert_true(event_key_cmp(&again.last_key, &f.last_key) == 0);
    assert_true(event_key_cmp(&again.referred_key, &f.referred_key) == 0);
    assert_true(again.touches == 1 && again.campaigns == 1 && again.last_event_at == 4000);
    assert_non_null(again.by[BY_CATEGORY].cutoff);
    assert_null(again.by[BY_BRAND].cutoff);
    assert_true(again.by[BY_BRAND].name_bytes == 3);
    facts_deinit(&again);
    facts_deinit(&f);
    buf_deinit(&b);
}

/* Whatever is read must write the same bytes: nothing has two forms. */
static void check_hostile(struct str bytes, struct buf *b, bool *taken)
{
    char *copy = malloc(bytes.n + 1); /* so that reading past the end is seen */
    struct facts f;
    int rc;

    assert_non_null(copy);
    memcpy(copy, bytes.p, bytes.n);
    rc = facts_unpack((struct str){copy, bytes.n}, &f);
    assert_true(rc == 0 || rc == 1);
    if (rc == 0)
        assert_true(str_eq(packed(&f, b), bytes));
    *taken = rc == 0;
    facts_deinit(&f);
    free(copy);
}

static void test_hostile_bytes(void **state)
{
    struct facts f = full_facts();
    struct buf b, other;
    char bytes[2048];
    uint32_t random = 12345;
    size_t n;
    bool taken;

    (void)state;
    buf_init(&b, MIB);
    buf_init(&other, MIB);
    n = packed(&f, &b).n;
    assert_true(n < sizeof(bytes) - 1);
    for (size_t cut = 0; cut < n; cut++) { /* every prefix */
        check_hostile((struct str){b.p, cut}, &other, &taken);
        assert_false(taken);
    }
    memcpy(bytes, b.p, n);
    bytes[n] = 0;
    check_hostile((struct str){bytes, n + 1}, &other, &taken);
    assert_false(taken);
    for (size_t i = 0; i < n; i++) { /* every byte changed to everything */
        for (int v = 0; v < 256; v++) {
            bytes[i] = (char)v;
            check_hostile((struct str){bytes, n}, &other, &taken);
        }
        bytes[i] = b.p[i];
    }
    for (int round = 0; round < 20000; round++) { /* several bytes */
        memcpy(bytes, b.p, n);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525 + 1013904223;
            bytes[(random >> 8) % n] = (char)(random >> 24);
        }
        check_hostile((struct str){bytes, n}, &other, &taken);
    }
    facts_deinit(&f);
    buf_deinit(&b);
    buf_deinit(&other);
}

/* Two names of one map in the wrong order. */
static void test_unsorted_names(void **state)
{
    struct facts f = full_facts();
    struct buf b, other;
    char *bags, *hats;
    bool taken;

    (void)state;
    buf_init(&b, MIB);
    buf_init(&other, MIB);
    packed(&f, &b);
    bags = memmem(b.p, b.n, "bags", 4);
    hats = memmem(b.p, b.n, "hats", 4);
    assert_true(bags && hats && bags < hats);
    memcpy(bags, "hats", 4);
    memcpy(hats, "bags", 4);
    check_hostile(buf_str(&b), &other, &taken);
    assert_false(taken);
    memcpy(hats, "hats", 4); /* twice the same */
    check_hostile(buf_str(&b), &other, &taken);
    assert_false(taken);
    facts_deinit(&f);
    buf_deinit(&b);
    buf_deinit(&other);
}

/* --- bytes that protobuf takes and the facts do not ----------------------------------------------------------- */

static Waymark__V1__Profile *profile_of(const struct facts *f)
{
    Waymark__V1__Profile *m;
    struct buf b;

    buf_init(&b, 8 * MIB);
    packed(f, &b);
    m = waymark__v1__profile__unpack(NULL, b.n, (const uint8_t *)b.p);
    assert_non_null(m);
    assert_int_equal(m->base.n_unknown_fields, 0);
    buf_deinit(&b);
    return m;
}

static bool taken(const Waymark__V1__Profile *m)
{
    size_t n = waymark__v1__profile__get_packed_size(m);
    char *bytes = malloc(n);
    struct buf other;
    bool yes;

    assert_non_null(bytes);
    assert_int_equal(waymark__v1__profile__pack(m, (uint8_t *)bytes), n);
    buf_init(&other, 8 * MIB);
    check_hostile((struct str){bytes, n}, &other, &yes);
    buf_deinit(&other);
    free(bytes);
    return yes;
}

/* Each change to a profile alone has it refused; it is taken back. */
#define REFUSED(m, place, value)                                                                                       \
    do {                                                                                                               \
        __typeof__(place) was = (place);                                                                               \
        (place) = (value);                                                                                             \
        assert_false(taken(m));                                                                                        \
        (place) = was;                                                                                                 \
        assert_true(taken(m));                                                                                         \
    } while (0)

static bool binary_is(ProtobufCBinaryData s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* Any reader of protobuf finds what the .proto file says. */
static void test_as_documented(void **state)
{
    struct facts f = full_facts();
    Waymark__V1__Profile *m = profile_of(&f);
    const Waymark__V1__Tallies *t = m->by_category;

    (void)state;
    assert_true(m->version == 1 && m->events == 4 && m->pages == 1 && m->touches == 1 && m->campaigns == 1);
    assert_true(m->last_event->time == 4000 && m->last_event->uid.len == UID_BYTES && m->first_event_at == 1000);
    assert_true(m->has_first_seen && m->first_seen == 1000 && m->has_last_seen && m->last_seen == 4000);
    assert_true(!m->has_gross && m->has_gross_high && m->gross_high == INT64_MIN);
    assert_false(m->has_discount || m->has_discount_high || m->has_refunded_high);
    assert_true(m->has_referred_by && binary_is(m->referred_by, "ann") && m->referral->time == 4000);
    assert_true(m->n_hours == 1 && m->hours[0] == 0 && m->hour_counts[0] == f.hour[0]);
    assert_true(m->n_weekdays == 1 && m->weekdays[0] == 4 && m->weekday_counts[0] == f.weekday[3]);
    assert_true(t->n_names == 3 && t->has_wide && t->wide && binary_is(t->names[0], "*"));
    assert_true(t->n_counts == 3 && t->counts[1] == (uint64_t)f.by[BY_CATEGORY].v[1].views);
    assert_true(t->n_amounts == 3 && t->amounts[2] == (int64_t)f.by[BY_CATEGORY].v[2].amount);
    assert_true(t->n_lines == 3 && t->n_amounts_high == 0);
    assert_true(m->by_module->n_names == 1 && m->by_module->counts[0] == 1 && m->by_module->n_added == 0);
    assert_true(m->n_currencies == f.currency_count && binary_is(m->currencies[0]->currency, "EUR"));
    assert_true(m->by_city->n_counts == 1 && !m->by_store);
    waymark__v1__profile__free_unpacked(m, NULL);
    facts_deinit(&f);
}

static void test_refused_numbers(void **state)
{
    struct facts f = full_facts();
    Waymark__V1__Profile *m = profile_of(&f);
    uint64_t ones[32] = {1, 1};
    uint32_t hours[32] = {7, 24};

    (void)state;
    REFUSED(m, m->version, 2);
    REFUSED(m, m->version, 0);
    REFUSED(m, m->events, 0);
    REFUSED(m, m->sessions, 0); /* goes without saying */
    REFUSED(m, m->first_event_at, m->last_event->time);
    REFUSED(m, m->first_event_at, m->last_event->time + 1);
    REFUSED(m, m->first_event_at, TIME_NONE);
    REFUSED(m, m->last_event, NULL);
    REFUSED(m, m->last_event->uid.len, UID_BYTES - 1);
    REFUSED(m, m->last_seen, m->first_seen);
    REFUSED(m, m->last_seen, m->first_seen - 1);
    REFUSED(m, m->has_first_seen, false);
    REFUSED(m, m->last_order_at, m->first_order_at - 1);
    REFUSED(m, m->has_first_order_at, false);
    REFUSED(m, m->gross_high, 0);
    REFUSED(m, m->has_refunded_high, true);
    REFUSED(m, m->referral, NULL);
    REFUSED(m, m->has_referred_by, false);
    REFUSED(m, m->referred_by.len, 0);
    REFUSED(m, m->currencies[0]->uses, 0);
    REFUSED(m, m->currencies[0]->currency.len, 2);
    REFUSED(m, m->currencies[0]->currency.data[0], 0);
    REFUSED(m, m->currencies[0]->currency.data[0], 'Z'); /* no longer sorted */
    REFUSED(m, m->n_hours, 0);
    REFUSED(m, m->n_hour_counts, 0);
    REFUSED(m, m->hour_counts[0], 0);
    REFUSED(m, m->hours[0], 24);
    REFUSED(m, m->weekdays[0], 0);
    REFUSED(m, m->weekdays[0], 8);
    {
        Waymark__V1__Profile two = *m;

        two.n_hours = two.n_hour_counts = 2;
        two.hours = hours;
        two.hour_counts = ones;
        assert_false(taken(&two));
        hours[1] = 23;
        assert_true(taken(&two));
        hours[1] = 6; /* not sorted */
        assert_false(taken(&two));
        hours[1] = 7;
        assert_false(taken(&two));
    }
    waymark__v1__profile__free_unpacked(m, NULL);
    facts_deinit(&f);
}

static void test_refused_columns(void **state)
{
    struct facts f = full_facts();
    Waymark__V1__Profile *m = profile_of(&f);
    Waymark__V1__Tallies *t = m->by_category, empty = WAYMARK__V1__TALLIES__INIT;
    int64_t high[3] = {0};

    (void)state;
    REFUSED(m, t->n_names, 2);
    REFUSED(m, t->n_counts, 1);
    REFUSED(m, t->n_lines, 0); /* something is ordered on no line */
    REFUSED(m, t->n_lines, 2);
    REFUSED(m, t->names[1].len, 0);
    REFUSED(m, t->wide, false); /* goes without saying */
    t->has_wide = t->wide = false;
    assert_true(taken(m));
    t->has_wide = t->wide = true;
    REFUSED(m, t->counts[1], UINT64_MAX);
    t->amounts_high = high;
    REFUSED(m, t->n_amounts_high, 3); /* says nothing */
    t->n_amounts_high = 3;
    for (size_t i = 0; i < 3; i++) {
        high[i] = 5;
        assert_int_equal(taken(m), t->lines[i] > 0); /* else an amount of no line */
        high[i] = 0;
    }
    t->n_amounts_high = 0;
    t->amounts_high = NULL;
    REFUSED(m, m->by_store, &empty);
    /* What belongs to items. */
    m->by_module->lines = t->lines;
    REFUSED(m, m->by_module->n_lines, 1);
    m->by_module->lines = NULL;
    /* Something under a name must count. */
    REFUSED(m, m->by_module->counts[0], 0);
    REFUSED(m, m->by_module->n_counts, 0);
    waymark__v1__profile__free_unpacked(m, NULL);
    facts_deinit(&f);
}

/* More names than are kept, and yet no rest. */
static void test_wide_without_rest(void **state)
{
    struct event e = event_of(EVENT_PAGE, NULL, 1);
    Waymark__V1__Profile *m;
    struct facts f;

    (void)state;
    e.module = STR_LIT("m");
    f = fold_with(&rules, &e, 1, NULL, 0);
    m = profile_of(&f);
    assert_true(taken(m));
    m->by_module->has_wide = m->by_module->wide = true;
    assert_false(taken(m));
    m->by_module->names[0].data[0] = '*';
    assert_true(taken(m));
    waymark__v1__profile__free_unpacked(m, NULL);
    facts_deinit(&f);
}

/* Bytes that say the same in another way, or more. */
static void test_other_forms(void **state)
{
    /* Without anything: the version, and no events. */
    static const struct {
        struct str bytes;
        bool taken;
    } cases[] = {
        {STR_LIT("\x08\1\xa0\6\0"), true},
        {STR_LIT("\xa0\6\0\x08\1"), false},                 /* another order */
        {STR_LIT("\x08\1\x08\1\xa0\6\0"), false},           /* twice */
        {STR_LIT("\x08\x81\0\xa0\6\0"), false},             /* a longer number */
        {STR_LIT("\x08\1\xa0\6\x80\0"), false},             /* likewise */
        {STR_LIT("\x88\0\1\xa0\6\0"), false},               /* a longer tag */
        {STR_LIT("\x08\1\xa0\6\0\xa8\6\1"), false},         /* a field that is not known */
        {STR_LIT("\x08\1\xd0\1\0\xd8\1\1\xa0\6\0"), false}, /* hours one by one */
        {STR_LIT("\x08\1\xd2\1\1\0\xda\1\1\1\xa0\6\0"), true},
        {STR_LIT("\x08\1"), false},
        {STR_LIT("\xa0\6\0"), false},
        {STR_LIT(""), false},
    };
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool yes;

        check_hostile(cases[i].bytes, &b, &yes);
        if (yes != cases[i].taken)
            fail_msg("case %zu", i);
    }
    buf_deinit(&b);
}

/* --- bounds --------------------------------------------------------------------------------------------------- */

/* All maps as full as they may be, names and amounts as long as may be. */
static struct facts fullest(void)
{
    char name[LIMIT_NAME_BYTES];
    struct facts f;

    facts_init(&f);
    memset(name, 'x', sizeof(name));
    for (int map = 0; map < FACTS_MAPS; map++) {
        assert_non_null(tally_put(&f.by[map], NAME_REST));
        assert_true(tally_widen(&f.by[map], facts_names_end(&f)));
        for (int i = 0; i < LIMIT_MAP_NAMES; i++) {
            snprintf(name, 5, "%04d", i);
            assert_non_null(tally_put(&f.by[map], (struct str){name, sizeof(name)}));
        }
        for (size_t i = 0; i < f.by[map].n; i++) {
            f.by[map].v[i].views = INT64_MAX;
            if (map < ITEM_MAP_END)
                f.by[map].v[i].added = f.by[map].v[i].lines = f.by[map].v[i].ordered = INT64_MAX;
            if (map < ORDER_MAP_END)
                f.by[map].v[i].amount = LEAST;
        }
    }
    return f;
}

static void test_fullest(void **state)
{
    struct facts f = fullest(), again;
    Waymark__V1__Profile *m;
    struct buf b, other;

    (void)state;
    buf_init(&b, 8 * MIB);
    buf_init(&other, 8 * MIB);
    assert_int_equal(facts_unpack(packed(&f, &b), &again), 0);
    assert_true(str_eq(packed(&again, &other), buf_str(&b)));
    assert_true(again.by[BY_PRODUCT].v[7].amount == LEAST && again.by[BY_PRODUCT].v[7].lines == INT64_MAX);
    m = profile_of(&f);
    assert_true(taken(m));
    {
        /* One more name. */
        Waymark__V1__Tallies t = *m->by_module;
        ProtobufCBinaryData names[LIMIT_MAP_NAMES + 2];
        uint64_t counts[LIMIT_MAP_NAMES + 2];

        memcpy(names, t.names, t.n_names * sizeof(*names));
        memcpy(counts, t.counts, t.n_names * sizeof(*counts));
        names[t.n_names] = (ProtobufCBinaryData){1, (uint8_t[]){'z'}};
        counts[t.n_names] = 1;
        t.names = names;
        t.counts = counts;
        t.n_counts = ++t.n_names;
        REFUSED(m, m->by_module, &t);
    }
    waymark__v1__profile__free_unpacked(m, NULL);
    facts_deinit(&again);
    facts_deinit(&f);
    buf_deinit(&b);
    buf_deinit(&other);
}

/* Few bytes that ask for much memory. */
static void test_bounded_memory(void **state)
{
    const size_t n = 4 * MIB;
    struct buf b;
    struct facts f;

    (void)state;
    buf_init(&b, n + KIB);
    /* An hour a byte takes eight in protobuf-c's hands; an empty name sixteen of two. */
    for (int names = 0; names < 2; names++) {
        buf_reset(&b);
        buf_add(&b, "\x08\1", 2);
        buf_add(&b, names ? "\x7a" : "\xda\1", names ? 1 : 2);
        buf_add_varint(&b, n);
        assert_true(buf_room(&b, n));
        for (size_t i = 0; i < n; i++)
            b.p[b.n++] = names && i % 2 == 0 ? '\x0a' : 0;
        buf_add(&b, "\xa0\6\0", 3);
        assert_false(b.failed);
        assert_int_equal(facts_unpack(buf_str(&b), &f), 1);
    }
    buf_deinit(&b);
}

static void test_equal_facts_equal_bytes(void **state)
{
    struct facts a = wide_facts(), b = wide_facts();

    (void)state;
    /* Later by another way to the same. */
    assert_int_equal(view(&a, "x", 310), FACTS_OK);
    assert_int_equal(view(&a, "b", 320), FACTS_OK);
    assert_int_equal(view(&b, "b", 320), FACTS_OK);
    assert_int_equal(view(&b, "x", 310), FACTS_OK);
    assert_same_facts(&a, &b);
    facts_deinit(&a);
    facts_deinit(&b);
}

static void test_small_bytes(void **state)
{
    struct event e = event_of(EVENT_PAGE, NULL, INT64_C(1782948600000));
    struct facts f = fold_with(&rules, &e, 1, NULL, 0);
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    assert_true(packed(&f, &b).n < 80);
    facts_deinit(&f);
    buf_deinit(&b);
}

/* --- JSON ----------------------------------------------------------------------------------------------------- */

static void assert_json(const struct facts *f, const char *want)
{
    struct buf b;

    buf_init(&b, MIB);
    facts_write_json(f, &rules, &b);
    if (b.n != strlen(want) || memcmp(b.p, want, b.n) != 0)
        fail_msg("%.*s", STR_ARG(buf_str(&b)));
    buf_deinit(&b);
}

static void test_json_of_nothing(void **state)
{
    struct facts f;

    (void)state;
    facts_init(&f);
    assert_json(&f,
                "{\"first_seen\":null,\"last_seen\":null,\"first_event_at\":null,\"last_event_at\":null,\"events\":0,"
                "\"sessions\":0,\"pages\":0,\"products_viewed\":0,\"products_added\":0,\"products_removed\":0,"
                "\"checkouts\":0,\"orders\":0,\"orders_cancelled\":0,\"orders_refunded\":0,\"credit_notes\":0,"
                "\"items\":0,\"gross\":0,\"refunded\":0,\"spent\":0,\"amounts_by_currency\":{},\"discount\":0,"
                "\"cost\":0,\"margin\":0,\"first_order_at\":null,\"last_order_at\":null,"
                "\"mean_days_between_orders\":null,\"referred_by\":null,\"by\":{\"category\":{},\"brand\":{},"
                "\"style\":{},\"color\":{},\"size\":{},\"product\":{},\"store\":{},\"city\":{},\"district\":{},"
                "\"channel\":{},\"campaign\":{},\"module\":{},\"hour\":{},\"weekday\":{}}}");
    facts_deinit(&f);
}

static void test_json(void **state)
{
    struct item items[] = {
        {.category = STR_LIT("kids & \"b\""), .price = {true, 100}, .quantity = PIECES(2), .cost = {true, 50}}};
    struct event v[] = {event_of(EVENT_PAGE, NULL, 0), track_with("Product Viewed", 1, items, 1),
                        event_of(EVENT_TRACK, "x", 2), event_of(EVENT_IDENTIFY, NULL, 61123)};
    struct order orders[] = {counted_order("GBP", 10, 9), counted_order("EUR", 10 + TIME_DAY, 3),
                             counted_order("GBP", 10 + 3 * TIME_DAY, 2)};
    struct facts f;

    (void)state;
    v[0].module = STR_LIT("home");
    v[2].shared_by = STR_LIT("ann");
    orders[0].items = items;
    orders[0].item_count = 1;
    orders[0].channel = STR_LIT("web");
    orders[2] = with_refund(orders[2], 2);
    orders[1].discount = AMOUNT(1);
    f = fold(v, COUNT(v), orders, COUNT(orders));
    assert_json(&f, "{\"first_seen\":\"1970-01-01T00:00:00.000Z\",\"last_seen\":\"1970-01-01T00:00:00.002Z\","
                    "\"first_event_at\":\"1970-01-01T00:00:00.000Z\",\"last_event_at\":\"1970-01-01T00:01:01.123Z\","
                    "\"events\":4,\"sessions\":1,\"pages\":1,\"products_viewed\":1,\"products_added\":0,"
                    "\"products_removed\":0,\"checkouts\":0,\"orders\":3,\"orders_cancelled\":0,\"orders_refunded\":1,"
                    "\"credit_notes\":0,\"items\":2,\"gross\":11,\"refunded\":2,\"spent\":9,"
                    "\"amounts_by_currency\":{\"EUR\":{\"gross\":3,\"refunded\":0,\"spent\":3,\"discount\":1},"
                    "\"GBP\":{\"gross\":11,\"refunded\":2,\"spent\":9,\"discount\":0}},\"discount\":0,"
                    "\"cost\":0.0001,\"margin\":8.9999,\"first_order_at\":\"1970-01-01T00:00:00.010Z\","
                    "\"last_order_at\":\"1970-01-04T00:00:00.010Z\",\"mean_days_between_orders\":1.5,"
                    "\"referred_by\":\"ann\",\"by\":{\"category\":{\"kids & \\\"b\\\"\":{\"views\":1,\"added\":0,"
                    "\"ordered\":2,\"amount\":0.0002}},\"brand\":{},\"style\":{},\"color\":{},\"size\":{},"
                    "\"product\":{},\"store\":{},\"city\":{},\"district\":{},\"channel\":{\"web\":{\"orders\":1,"
                    "\"amount\":9}},\"campaign\":{},\"module\":{\"home\":{\"pages\":1}},\"hour\":{\"0\":3},"
                    "\"weekday\":{\"4\":3}}}");
    f.items_without_cost = 1;
    {
        struct buf b;

        buf_init(&b, MIB);
        facts_write_json(&f, &rules, &b);
        assert_true(buf_add_char(&b, 0));
        assert_non_null(strstr(b.p, "\"cost\":null,\"margin\":null,"));
        buf_deinit(&b);
    }
    facts_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_back),
        cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_unsorted_names),
        cmocka_unit_test(test_as_documented),
        cmocka_unit_test(test_refused_numbers),
        cmocka_unit_test(test_refused_columns),
        cmocka_unit_test(test_wide_without_rest),
        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_fullest),
        cmocka_unit_test(test_bounded_memory),
        cmocka_unit_test(test_equal_facts_equal_bytes),
        cmocka_unit_test(test_small_bytes),
        cmocka_unit_test(test_json_of_nothing),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
