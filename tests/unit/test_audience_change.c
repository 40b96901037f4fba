/* Changes of membership: what is written is read, and what is none is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/audience_change.h"

static const struct audience_change full = {.audience = STR_LIT("loyal \"x\" ☃"),
                                            .id = STR_LIT("user:4\"2"),
                                            .entered = true,
                                            .time = 1700000000123,
                                            .entered_at = 1700000000123,
                                            .version = 77,
                                            .rule_version = 1600000000000,
                                            .because = BECAUSE_EVENT,
                                            .message_id = STR_LIT("m1"),
                                            .event_name = STR_LIT("Product Viewed"),
                                            .event_time = 1700000000001};

static void round_trip(const struct audience_change *c)
{
    struct audience_change got;
    struct arena a;
    struct buf b;

    arena_init(&a, MIB);
    buf_init(&b, MIB);
    assert_true(audience_change_write(c, &b));
    assert_int_equal(audience_change_read(buf_str(&b), &a, &got), 0);
    assert_true(str_eq(got.audience, c->audience) && str_eq(got.id, c->id));
    assert_true(got.entered == c->entered && got.time == c->time && got.entered_at == c->entered_at);
    assert_true(got.version == c->version && got.rule_version == c->rule_version && got.because == c->because);
    assert_true(str_eq(got.message_id, c->message_id) && str_eq(got.event_name, c->event_name));
    assert_true(got.event_time == c->event_time);
    buf_deinit(&b);
    arena_deinit(&a);
}

static void what_is_written_is_read(void **state)
{
    struct audience_change c = full;

    (void)state;
    round_trip(&c);
    c.entered = false;
    for (int i = BECAUSE_EVENT; i <= BECAUSE_ERASED; i++) {
        c.because = (enum change_because)i;
        round_trip(&c);
    }
    c.id = c.message_id = c.event_name = STR_NONE;
    c.event_time = c.entered_at = c.rule_version = TIME_NONE;
    round_trip(&c);
}

static void the_text_is_what_the_page_says(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    assert_true(audience_change_write(&full, &b));
    buf_add_char(&b, '\0');
    assert_string_equal(
        b.p, "{\"audience\":\"loyal \\\"x\\\" ☃\",\"action\":\"entered\",\"id\":\"user:4\\\"2\","
             "\"time\":\"2023-11-14T22:13:20.123Z\",\"entered_at\":\"2023-11-14T22:13:20.123Z\",\"version\":77,"
             "\"rule_version\":\"2020-09-13T12:26:40.000Z\",\"because\":\"event\",\"event\":{\"message_id\":\"m1\","
             "\"name\":\"Product Viewed\",\"time\":\"2023-11-14T22:13:20.001Z\"}}");
    buf_deinit(&b);
}

static void what_is_none_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "1",
                                        "{}",
                                        "{\"audience\":\"a\",\"action\":\"left\"}",
                                        "{\"audience\":\"a\",\"action\":\"came\",\"because\":\"rule\"}",
                                        "{\"audience\":1,\"action\":\"left\",\"because\":\"rule\"}"};
    struct audience_change got;
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(audience_change_read(str_of(texts[i]), &a, &got), 1);
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_written_is_read),
                                       cmocka_unit_test(the_text_is_what_the_page_says),
                                       cmocka_unit_test(what_is_none_is_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
