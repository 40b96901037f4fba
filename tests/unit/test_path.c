/* Sessions, dwell and where-from of a path, against tables worked by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "profiler/path.h"

#define GAP 1000
#define NONE (-1)

/* --- flags ---------------------------------------------------------------------------------------------------- */

static const char *const payment_hosts[] = {"pay.example", "www.bank.example"};
static const struct fold_rules rules = {
    .session_gap_ms = GAP, .currency = "GBP", .payment_hosts = payment_hosts, .payment_host_count = 2};

static void test_what_makes_sessions(void **state)
{
    static const struct {
        enum event_type type;
        enum event_trust trust;
        const char *device;
        unsigned flags;
    } rows[] = {
        {EVENT_PAGE, TRUST_BEACON, "d", ENTRY_SESSION | ENTRY_PAGE},
        {EVENT_PAGE, TRUST_SERVER, NULL, ENTRY_SESSION | ENTRY_PAGE},
        {EVENT_SCREEN, TRUST_BEACON, "d", ENTRY_SESSION | ENTRY_PAGE},
        {EVENT_SCREEN, TRUST_SERVER, NULL, ENTRY_SESSION | ENTRY_PAGE},
        {EVENT_TRACK, TRUST_BEACON, "d", ENTRY_SESSION},
        {EVENT_TRACK, TRUST_BEACON, NULL, ENTRY_SESSION},
        {EVENT_TRACK, TRUST_SERVER, "d", ENTRY_SESSION},
        {EVENT_TRACK, TRUST_SERVER, NULL, 0},
        {EVENT_IDENTIFY, TRUST_BEACON, "d", 0},
        {EVENT_GROUP, TRUST_BEACON, "d", 0},
        {EVENT_ALIAS, TRUST_BEACON, "d", 0},
        {EVENT_ORDER, TRUST_SERVER, "d", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct event e = {.type = rows[i].type, .trust = rows[i].trust, .anonymous_id = str_of(rows[i].device)};

        e.user_id = STR_LIT("u");
        e.name = STR_LIT("Something");
        assert_int_equal(entry_flags(&e, &rules), rows[i].flags);
    }
}

static void test_order_flag(void **state)
{
    struct event e = {.type = EVENT_ORDER, .trust = TRUST_SERVER, .anonymous_id = STR_LIT("d")};

    (void)state;
    e.order = (struct order_fields){.order_id = STR_LIT("o"), .status = STATUS_PAID};
    assert_int_equal(entry_flags(&e, &rules), ENTRY_ORDER);
    e.type = EVENT_TRACK;
    e.trust = TRUST_BEACON;
    e.name = STR_LIT("Order Completed");
    assert_int_equal(entry_flags(&e, &rules), ENTRY_ORDER | ENTRY_SESSION);
    e.name = STR_LIT("Order Cancelled");
    assert_int_equal(entry_flags(&e, &rules), ENTRY_SESSION);
}

static void test_external_referrers(void **state)
{
    static const struct {
        const char *url, *referrer;
        bool external;
    } rows[] = {
        {"https://shop.example/a", "https://search.example/q", true},
        {"https://shop.example/a", "https://shop.example/b", false},
        {"https://www.shop.example/a", "http://shop.example", false},
        {"https://shop.example/a", "https://WWW.Shop.Example:8443/b", false},
        {"https://shop.example./a", "https://shop.example/b", false},
        {"https://shop.example/a", "https://blog.shop.example/b", true},
        {"https://shop.example/a", "https://u:p@shop.example/b", false},
        {"https://shop.example/a", "https://shop.example@evil.example/b", true},
        {"https://shop.example/a", "//other.example/b", true},
        {"https://shop.example/a", "android-app://com.search.box/", true},
        {"https://shop.example/a?x=https://a.b/", "https://shop.example?y=//c", false},
        {"https://shop.example/a", "https://pay.example/done", false},
        {"https://shop.example/a", "https://PAY.example:443/done", false},
        {"https://shop.example/a", "https://secure.pay.example/done", false},
        {"https://shop.example/a", "https://notpay.example/done", true},
        {"https://shop.example/a", "https://bank.example/done", false},
        {"https://shop.example/a", "https://www.bank.example/done", false},
        {"https://[::1]:80/a", "https://[::2]/b", true},
        {"https://[::1]:80/a", "https://[::1]/b", false},
        {"https://shop.example/a", "https://[::1", false},
        {"https://shop.example/a", "", false},
        {"https://shop.example/a", NULL, false},
        {"https://shop.example/a", "$direct", false},
        {"https://shop.example/a", "about:blank", false},
        {"https://shop.example/a", "/b", false},
        {"https://shop.example/a", "https:", false},
        {"https://shop.example/a", "https://", false},
        {"https://shop.example/a", "https:///path", false},
        {"https://shop.example/a", "https://www.", true},
        {NULL, "https://search.example/", false},
        {"", "https://search.example/", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct event e = {.type = EVENT_PAGE, .trust = TRUST_BEACON};

        e.url = str_of(rows[i].url);
        e.referrer = str_of(rows[i].referrer);
        if (path_external_referrer(&e, &rules) != rows[i].external)
            fail_msg("row %zu: %s", i, rows[i].referrer ? rows[i].referrer : "none");
        assert_int_equal(entry_flags(&e, &rules) & ENTRY_TOUCH, rows[i].external ? ENTRY_TOUCH : 0);
    }
}

static void test_touches_by_campaign(void **state)
{
    struct event page = {.type = EVENT_PAGE, .trust = TRUST_BEACON};
    struct event e = page;

    (void)state;
    e.campaign.name = STR_LIT("spring");
    assert_int_equal(entry_flags(&e, &rules), ENTRY_SESSION | ENTRY_PAGE | ENTRY_TOUCH | ENTRY_CAMPAIGN);
    e.type = EVENT_IDENTIFY; /* starts no session */
    assert_int_equal(entry_flags(&e, &rules) & ENTRY_TOUCH, 0);
    for (int field = 0; field < 6; field++) {
        struct str *fields[] = {&e.campaign.source,  &e.campaign.medium,   &e.campaign.term,
                                &e.campaign.content, &e.campaign.click_id, &e.campaign.name};

        e = page;
        *fields[field] = STR_LIT("");
        assert_int_equal(entry_flags(&e, &rules), ENTRY_SESSION | ENTRY_PAGE);
        *fields[field] = STR_LIT("x");
        assert_int_equal(entry_flags(&e, &rules) & ENTRY_TOUCH, ENTRY_TOUCH);
    }
}

/* --- sessions ------------------------------------------------------------------------------------------------- */

/* One event of a path and what must be noted about it. kind: p page, t track, i identify. */
struct row {
    uint32_t device;
    char kind;
    int64_t time;
    uint32_t session;
    bool starts;
    int64_t session_start, dwell, page_before;
};

static void make_entry(const struct row *row, size_t i, struct path_entry *out)
{
    *out = (struct path_entry){.key = {.time = row->time, .position = (uint32_t)i}, .device = row->device};
    if (row->kind != 'i')
        out->flags |= ENTRY_SESSION;
    if (row->kind == 'p')
        out->flags |= ENTRY_PAGE;
}

static void check_path(const char *what, const struct row *rows, size_t n, uint32_t sessions)
{
    struct path_entry path[64] = {0};
    struct path_note notes[64];
    uint32_t count;

    for (size_t i = 0; i < n; i++)
        make_entry(&rows[i], i, &path[i]);
    assert_int_equal(path_annotate(path, n, GAP, notes, &count), 0);
    for (size_t i = 0; i < n; i++) {
        const struct row *r = &rows[i];
        const struct path_note *note = &notes[i];

        if (note->session != r->session || note->starts != r->starts || note->session_start != r->session_start ||
            note->dwell_ms != r->dwell || note->page_before != r->page_before)
            fail_msg("%s, event %zu: session %u starts %d at %lld dwell %lld after page %lld", what, i, note->session,
                     note->starts, (long long)note->session_start, (long long)note->dwell_ms,
                     (long long)note->page_before);
    }
    assert_int_equal(count, sessions);
}

#define CHECK_PATH(what, sessions, ...)                                                                                \
    do {                                                                                                               \
        static const struct row rows_[] = {__VA_ARGS__};                                                               \
        check_path(what, rows_, sizeof(rows_) / sizeof(rows_[0]), sessions);                                           \
    } while (0)

static void test_sessions(void **state)
{
    (void)state;
    CHECK_PATH("one event", 1, {5, 'p', 100, 1, true, 100, NONE, NONE});
    CHECK_PATH("exactly the gap is still one", 1, {5, 'p', 0, 1, true, 0, 1000, NONE},
               {5, 'p', 1000, 1, false, 0, 1000, 0}, {5, 't', 2000, 1, false, 0, NONE, 1});
    CHECK_PATH("a millisecond more is two", 2, {5, 'p', 0, 1, true, 0, NONE, NONE},
               {5, 'p', 1001, 2, true, 1001, NONE, NONE});
    CHECK_PATH("a track starts and extends", 2, {5, 't', 0, 1, true, 0, NONE, NONE},
               {5, 't', 1000, 1, false, 0, NONE, NONE}, {5, 'p', 2000, 1, false, 0, NONE, NONE},
               {5, 't', 3001, 2, true, 3001, NONE, NONE});
    CHECK_PATH("devices apart, numbered by first event", 3, {90, 'p', 0, 1, true, 0, 900, NONE},
               {7, 'p', 10, 2, true, 10, NONE, NONE}, {90, 'p', 900, 1, false, 0, 600, 0},
               {7, 'p', 1011, 3, true, 1011, 9, NONE}, {7, 't', 1020, 3, false, 1011, NONE, 3},
               {90, 't', 1500, 1, false, 0, NONE, 2});
    CHECK_PATH("before 1970", 2, {1, 'p', -5000, 1, true, -5000, NONE, NONE},
               {1, 'p', -3999, 2, true, -3999, NONE, NONE});
}

static void test_dwell(void **state)
{
    (void)state;
    CHECK_PATH("to the next page, whatever is between", 1, {1, 'p', 0, 1, true, 0, 700, NONE},
               {1, 't', 300, 1, false, 0, NONE, 0}, {1, 'p', 700, 1, false, 0, 250, 0},
               {1, 't', 800, 1, false, 0, NONE, 2}, {1, 't', 950, 1, false, 0, NONE, 2});
    CHECK_PATH("to nothing of another session or device", 3, {1, 'p', 0, 1, true, 0, NONE, NONE},
               {2, 't', 500, 2, true, 500, NONE, NONE}, {1, 'p', 1200, 3, true, 1200, NONE, NONE});
    CHECK_PATH("an identify is no end", 1, {1, 'p', 0, 1, true, 0, NONE, NONE}, {1, 'i', 500, 1, false, 0, NONE, 0});
    CHECK_PATH("zero is a dwell", 1, {1, 'p', 0, 1, true, 0, 0, NONE}, {1, 't', 0, 1, false, 0, NONE, 0});
}

static void test_other_events(void **state)
{
    (void)state;
    CHECK_PATH("up to the gap after the last, inclusive", 1, {1, 'p', 0, 1, true, 0, 400, NONE},
               {1, 't', 400, 1, false, 0, NONE, 0}, {1, 'i', 1400, 1, false, 0, NONE, 0},
               {1, 'i', 1401, 0, false, TIME_NONE, NONE, NONE});
    CHECK_PATH("they extend nothing", 2, {1, 't', 0, 1, true, 0, NONE, NONE}, {1, 'i', 900, 1, false, 0, NONE, NONE},
               {1, 't', 1001, 2, true, 1001, NONE, NONE});
    CHECK_PATH("none before the first", 1, {1, 'i', 0, 0, false, TIME_NONE, NONE, NONE},
               {1, 't', 1, 1, true, 1, NONE, NONE});
    CHECK_PATH("not of another device", 1, {1, 'p', 0, 1, true, 0, NONE, NONE},
               {2, 'i', 1, 0, false, TIME_NONE, NONE, NONE});
    CHECK_PATH("at the time of a first event that stands after it", 2, {1, 't', 0, 1, true, 0, NONE, NONE},
               {1, 'i', 5000, 2, false, 5000, NONE, NONE}, {2, 'i', 5000, 0, false, TIME_NONE, NONE, NONE},
               {1, 'p', 5000, 2, true, 5000, NONE, NONE}, {1, 'i', 5000, 2, false, 5000, NONE, 3});
    CHECK_PATH("a session that goes on later", 1, {1, 't', 0, 1, true, 0, NONE, NONE},
               {1, 'i', 900, 1, false, 0, NONE, NONE}, {1, 't', 1000, 1, false, 0, NONE, NONE});
}

static void test_many_devices(void **state)
{
    enum { N = 3000 };
    struct path_entry *path = calloc(N, sizeof(*path));
    struct path_note *notes = calloc(N, sizeof(*notes));
    uint32_t sessions;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        path[i] = (struct path_entry){.key = {.time = (int64_t)i}, .flags = ENTRY_SESSION | ENTRY_PAGE};
        path[i].device = (uint32_t)(i % 1000) * 0x01000000u + (uint32_t)(i % 1000);
    }
    assert_int_equal(path_annotate(path, N, 1000, notes, &sessions), 0);
    assert_int_equal(sessions, 1000);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(notes[i].session, i % 1000 + 1);
        assert_int_equal(notes[i].dwell_ms, i + 1000 < N ? 1000 : NONE);
        assert_int_equal(notes[i].page_before, i < 1000 ? -1 : (int64_t)i - 1000);
    }
    assert_int_equal(path_annotate(path, 0, 1000, notes, &sessions), 0);
    assert_int_equal(sessions, 0);
    free(path);
    free(notes);
}

static void test_session_change(void **state)
{
    static const struct {
        int64_t before, time, after;
        int change;
    } rows[] = {
        {TIME_NONE, 0, TIME_NONE, 1},
        {0, 1000, TIME_NONE, 0},
        {0, 1001, TIME_NONE, 1},
        {TIME_NONE, 0, 1000, 0}, /* the next one was the start */
        {TIME_NONE, 0, 1001, 1},
        {0, 500, 1000, 0},   /* inside */
        {0, 1000, 2000, -1}, /* a late one joins two */
        {0, 900, 2000, 0},   /* joins the first only */
        {0, 1100, 2000, 0},  /* joins the second only */
        {0, 1001, 3000, 1},  /* one of its own */
        {0, 0, 0, 0},
        {INT64_MIN + 1, 0, INT64_MAX, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(path_session_change(rows[i].before, rows[i].time, rows[i].after, GAP), rows[i].change);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_makes_sessions),
        cmocka_unit_test(test_order_flag),
        cmocka_unit_test(test_external_referrers),
        cmocka_unit_test(test_touches_by_campaign),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_dwell),
        cmocka_unit_test(test_other_events),
        cmocka_unit_test(test_many_devices),
        cmocka_unit_test(test_session_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
