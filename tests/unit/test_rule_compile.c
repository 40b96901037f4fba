/* Rules compile or say where they do not: places, suggestions, types, what they need, one canonical text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "common/json.h"
#include "profiler/rule.h"
#include "profiler/rule_tree.h"

static struct vocabulary *vocabulary;
static const struct rule_tag tags[] = {{{"lifecycle", 9}, RULE_STRING}, {{"rfm", 3}, RULE_NUMBER}};

static bool audience(void *arg, struct str name)
{
    (void)arg;
    return str_is(name, "loyal") || str_is(name, "vip");
}

static struct rule_names names(void)
{
    return (struct rule_names){.traits = vocabulary, .tags = tags, .tag_count = 2, .audience = audience};
}

static int compile(const char *text, enum rule_type want, struct rule **out, struct rule_error *e)
{
    struct rule_names n = names();

    return rule_compile(str_of(text), want, &n, out, e);
}

static struct rule *good(const char *text)
{
    struct rule *r = NULL;
    struct rule_error e;

    if (compile(text, RULE_ANY, &r, &e) != 0)
        fail_msg("%s: %u:%u: %s", text, e.line, e.column, e.message);
    return r;
}

static struct rule_error bad(const char *text)
{
    struct rule *r = NULL;
    struct rule_error e;

    if (compile(text, RULE_BOOL, &r, &e) != -EINVAL)
        fail_msg("%s: it compiles", text);
    assert_null(r);
    assert_true(e.line > 0 && e.column > 0 && e.message[0] != '\0');
    return e;
}

static void test_places(void **state)
{
    static const struct {
        const char *text;
        unsigned line, column;
        const char *suggestion;
    } rows[] = {
        /* syntax: the token that does not fit, or one past the end */
        {"orders >", 1, 9, ""},
        {"", 1, 1, ""},
        {"  ", 1, 3, ""},
        {"orders > 1)", 1, 11, ""},
        {"(orders > 1", 1, 12, ""},
        {"orders > 1 2", 1, 12, ""},
        {"orders = 1", 1, 8, "=="},
        {"orders > 1 and pages > 2", 1, 12, "&&"},
        {"orders > 1 & pages > 2", 1, 12, "&&"},
        {"traits.city == \xe2\x80\x9cTurin\xe2\x80\x9d", 1, 16, "\""},
        {"traits.city == \"\xc3\xa9\xc3\xa9\" orders", 1, 21, ""},
        {"traits.city == \"abc", 1, 16, ""},
        {"traits.city == \"a\\q\"", 1, 18, ""},
        {"traits.city == '\n'", 1, 16, ""},
        {"orders > 30d", 1, 12, ""},
        {"orders > 1 // all\n&& ", 2, 4, ""},
        {"count(\"page\", ) > 1", 1, 15, ""},
        {"traits.", 1, 8, ""},
        {"orders > 1 ? true", 1, 18, ""},
        {"b\"bytes\" == b\"bytes\"", 1, 1, ""},
        {"orders > 99999999999999999999999999999999999999999", 1, 10, ""},
        /* names: where they stand */
        {"ordrs > 1", 1, 1, "orders"},
        {"lastSeen < now", 1, 1, "last_seen"},
        {"orders > 1 &&\n spnt > 2", 2, 2, "spent"},
        {"orders > 1 &&\r\n\tspnt > 2", 2, 2, "spent"},
        {"\"\xe2\x98\x83\xe2\x98\x83\" == traits.city && spnt > 2", 1, 24, "spent"},
        {"lifecycle == \"new\"", 1, 1, "tags.lifecycle"},
        {"gender == \"female\"", 1, 1, "traits.gender"},
        {"tags.lifecycl == \"new\"", 1, 6, "lifecycle"},
        {"by.categorie[\"Shoes\"].views > 1", 1, 4, "category"},
        {"by.category[\"Shoes\"].viewed > 1", 1, 22, "views"},
        {"by.city[\"Turin\"].views > 1", 1, 18, ""},
        {"amounts_by_currency[\"EUR\"].spend > 1", 1, 28, "spent"},
        {"days_sinc(last_seen) > 3", 1, 1, "days_since"},
        {"orders() > 3", 1, 1, "orders"},
        {"today > last_seen", 1, 1, ""},
        {"traits.city.startWith(\"T\")", 1, 13, "startsWith"},
        {"traits.city.matches(\"T.*\")", 1, 13, ""},
        {"in_audience(\"gone\")", 1, 1, ""},
        {"e.category == \"Shoes\"", 1, 1, ""},
        {"xyzzyplugh", 1, 1, ""},
        /* types: the operator or function */
        {"orders > \"x\"", 1, 8, ""},
        {"orders", 1, 1, ""},
        {"orders + 1", 1, 8, ""},
        {"orders && pages > 1", 1, 8, ""},
        {"pages > 1 && !orders", 1, 14, ""},
        {"first_seen > \"2026-01-01\"", 1, 12, ""},
        {"orders in 5", 1, 8, ""},
        {"(orders > 1) + 1 > 2", 1, 14, ""},
        {"-traits.city == 1", 1, 1, ""},
        {"true ? 1 : 'a'", 1, 6, ""},
        {"days_since(orders) > 3", 1, 1, ""},
        {"size(orders) > 3", 1, 1, ""},
        {"spent.contains(\"x\")", 1, 7, ""},
        {"[1] < [2]", 1, 5, ""},
        {"orders.x > 1", 1, 8, ""},
        {"tags.lifecycle.x == 1", 1, 16, ""},
        {"null > 1", 1, 1, ""},
        {"quintile(pages) > 1", 1, 1, ""},
        {"quintile(spent + 1) > 1", 1, 1, ""},
        /* functions: what they take */
        {"count(5)", 1, 1, ""},
        {"count() > 1", 1, 1, ""},
        {"count(\"\") > 1", 1, 1, ""},
        {"count(\"page\", 0) > 1", 1, 1, ""},
        {"count(\"page\", -3) > 1", 1, 1, ""},
        {"count(\"page\", 40000) > 1", 1, 1, ""},
        {"count(\"page\", orders) > 1", 1, 1, ""},
        {"count(\"page\", \"30\") > 1", 1, 1, ""},
        {"1 > 0 && count(\"page\", 30, e.x > 1, 5) > 1", 1, 10, ""},
        {"count(\"page\", 30, count(\"page\") > 1) > 1", 1, 19, ""},
        {"count(\"page\", 30, e.x == last(\"page\").x) > 1", 1, 26, ""},
        {"count(\"page\", 30, 5) > 1", 1, 1, ""},
        {"sum(\"spend\", 30) > 1", 1, 1, "spent"},
        {"last(\"Product Viewed\") == \"x\"", 1, 1, ""},
        {"followed_by(\"a\", \"b\", 24)", 1, 1, ""},
        {"not_followed_by(\"a\", \"b\", days(7), days(7))", 1, 1, ""},
        {"in_audience(traits.city)", 1, 1, ""},
        {"days(orders) == days(1)", 1, 1, ""},
        {"duration(\"3 days\") == days(3)", 1, 1, ""},
        {"timestamp(\"May\") < now", 1, 1, ""},
        {"top(\"categories\") == \"x\"", 1, 1, "category"},
        {"names(\"category\", \"orders\") > 1", 1, 1, "ordered"},
        {"by.hour[24] > 1", 1, 9, ""},
        {"by.weekday[\"x\"] > 1", 1, 11, ""},
        {"by.category[5].views > 1", 1, 12, ""},
        {"by.category.Shoes.views > 1", 1, 13, ""},
        {"by > 1", 1, 1, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rule_error e = bad(rows[i].text);
        if (e.line != rows[i].line || e.column != rows[i].column || strcmp(e.suggestion, rows[i].suggestion) != 0)
            fail_msg("%s: %u:%u: %s (%s)", rows[i].text, e.line, e.column, e.message, e.suggestion);
    }
}

static void test_canonical(void **state)
{
    static const char *const rows[][2] = {
        {"orders>=3&&(days_since(last_seen)<30)", "orders >= 3 && days_since(last_seen) < 30"},
        {"orders>1&&(pages>1&&(items>1))", "orders > 1 && pages > 1 && items > 1"},
        {"(orders>1||pages>1)&&items>1", "(orders > 1 || pages > 1) && items > 1"},
        {"!(orders>1)", "!(orders > 1)"},
        {"((spent - gross)) - (margin - cost) > 0.50", "spent - gross - (margin - cost) > 0.5"},
        {"(spent * 2) / (3 * orders) >= 1e3", "spent * 2 / (3 * orders) >= 1000"},
        {"0x10 + 1u == -orders - -5", "17 == -orders - -5"},
        {"1 / 3 * spent > 2", "1 / 3 * spent > 2"},
        {"spent * (1 / 3) > 2", "spent * (1 / 3) > 2"},
        {"cost == null", "!has(cost)"},
        {"null != cost", "has(cost)"},
        {"traits['City'] == 'Tu\\u0072in' // here", "traits.city == \"Turin\""},
        {"traits[\"a b\"]['in'][0].c == r'\\'", "traits[\"a b\"][\"in\"][0].c == \"\\\\\""},
        {"by.category['Shoes']['views'] > 1", "by.category[\"Shoes\"].views > 1"},
        {"by.hour[\"9\"] > by.weekday[7]", "by.hour[9] > by.weekday[7]"},
        {"count('Product Viewed', days(30), e.color=='red') > 1",
         "count(\"Product Viewed\", 30, e.color == \"red\") > 1"},
        {"count('page', e.url.contains('x')) > 1", "count(\"page\", e.url.contains(\"x\")) > 1"},
        {"count('page', 0.5) > 1", "count(\"page\", hours(12)) > 1"},
        {"count('page', 2 * 15) > 1", "count(\"page\", 30) > 1"},
        {"sum('spent', duration('1500ms')) > 1", "sum(\"spent\", duration(\"1500ms\")) > 1"},
        {"not_followed_by('a', 'b', hours(24))", "not_followed_by(\"a\", \"b\", days(1), 7)"},
        {"followed_by('a', 'b', minutes(90))", "followed_by(\"a\", \"b\", minutes(90))"},
        {"top('category') == 'x' && top('hour') > 3",
         "top(\"category\", \"views\") == \"x\" && top(\"hour\", \"count\") > 3"},
        {"names('brand') > 1", "names(\"brand\") > 1"},
        {"interest('Product Viewed', 'category', 30.0) == 'x'",
         "interest(\"Product Viewed\", \"category\", 30) == \"x\""},
        {"tags.lifecycle in ['new', \"mature\",]", "tags.lifecycle in [\"new\", \"mature\"]"},
        {"{'a': 1, }['a'] == 1", "{\"a\": 1}[\"a\"] == 1"},
        {"orders > 1 ? pages > 2 : (items > 3 ? true : false)", "orders > 1 ? pages > 2 : items > 3 ? true : false"},
        {"(orders > 1 ? 1 : 2) == 1", "(orders > 1 ? 1 : 2) == 1"},
        {"size(traits.name) == traits.name.size()", "size(traits.name) == size(traits.name)"},
        {"last('Order Completed').total * 2 > 1", "last(\"Order Completed\").total * 2 > 1"},
        {"now - first_seen > days(3) - hours(1)", "now - first_seen > days(3) - hours(1)"},
        {"(first_seen + days(3)).x == 1", NULL},
        {"consent.email && !exported('spring')", "consent.email && !exported(\"spring\")"},
        {"quintile(last_order_at) == 5 && in_audience('vip')", "quintile(last_order_at) == 5 && in_audience(\"vip\")"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rule *r, *again;
        struct buf b, c;
        if (!rows[i][1]) {
            (void)bad(rows[i][0]);
            continue;
        }
        r = good(rows[i][0]);
        buf_init(&b, 1 << 20);
        buf_init(&c, 1 << 20);
        assert_true(rule_canonical(r, &b));
        if (!str_is(buf_str(&b), rows[i][1]))
            fail_msg("%s: %.*s", rows[i][0], STR_ARG(buf_str(&b)));
        again = good(rows[i][1]);
        assert_true(rule_canonical(again, &c));
        assert_true(str_eq(buf_str(&b), buf_str(&c)));
        assert_int_equal(rule_needs(r), rule_needs(again));
        buf_deinit(&b);
        buf_deinit(&c);
        rule_free(r);
        rule_free(again);
    }
}

static void test_needs(void **state)
{
    static const struct {
        const char *text;
        unsigned needs;
        bool personal;
    } rows[] = {
        {"orders > 1 && by.category[\"x\"].views > 1", 0, false},
        {"has(first_order_at)", 0, false},
        {"days_since(last_seen) > 1", RULE_NEEDS_NOW, false},
        {"last_seen < now", RULE_NEEDS_NOW, false},
        {"month(last_seen) == 5", 0, false},
        {"traits.city == \"x\"", RULE_NEEDS_TRAITS, false},
        {"traits.email == \"x\"", RULE_NEEDS_TRAITS, true},
        {"consent.email", RULE_NEEDS_TRAITS, false},
        {"count(\"Product Viewed\") > 1", RULE_NEEDS_PATH, false},
        {"count(\"Product Viewed\", 3) > 1", RULE_NEEDS_PATH | RULE_NEEDS_NOW, false},
        {"count(\"Order Completed\", 3) > 1", RULE_NEEDS_ORDERS | RULE_NEEDS_NOW, false},
        {"count(\"page\", e.email == \"x\") > 1", RULE_NEEDS_PATH, true},
        {"last(\"page\").email == \"x\"", RULE_NEEDS_PATH, true},
        {"sum(\"spent\") > 1", 0, false},
        {"sum(\"spent\", 9) > 1", RULE_NEEDS_ORDERS | RULE_NEEDS_NOW, false},
        {"followed_by(\"Order Completed\", \"Order Refunded\", days(3))", RULE_NEEDS_ORDERS, false},
        {"followed_by(\"page\", \"Order Refunded\", days(3))", RULE_NEEDS_PATH | RULE_NEEDS_ORDERS, false},
        {"not_followed_by(\"page\", \"screen\", days(3))", RULE_NEEDS_PATH | RULE_NEEDS_NOW, false},
        {"in_audience(\"vip\")", RULE_NEEDS_AUDIENCES, false},
        {"exported(\"spring\")", RULE_NEEDS_MARKS, false},
        {"quintile(spent) > 3", RULE_NEEDS_CUTS, false},
        {"tags.rfm > 3", RULE_NEEDS_TAGS, false},
        {"top(\"city\") == \"x\"", 0, false},
        {"interest(\"page\", \"title\", 3) == \"x\"", RULE_NEEDS_PATH, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rule *r = good(rows[i].text);
        if (rule_needs(r) != rows[i].needs || rule_personal(r) != rows[i].personal)
            fail_msg("%s: needs %u, personal %d", rows[i].text, rule_needs(r), rule_personal(r));
        rule_free(r);
    }
}

static void test_lists(void **state)
{
    struct rule *r = good("tags.rfm > 3 || (tags.lifecycle == 'new' && tags.rfm > 1) || in_audience('vip') && "
                          "in_audience('loyal') || exported('a') || exported('b') || !exported('a')");
    const struct str *list;
    struct str clauses[8];
    struct rule *part;

    (void)state;
    assert_int_equal(rule_tags(r, &list), 2);
    assert_true(str_is(list[0], "rfm") && str_is(list[1], "lifecycle"));
    assert_int_equal(rule_audiences(r, &list), 2);
    assert_true(str_is(list[0], "vip") && str_is(list[1], "loyal"));
    assert_int_equal(rule_campaigns(r, &list), 2);
    assert_true(str_is(list[0], "a") && str_is(list[1], "b"));
    assert_int_equal(rule_clauses(r, clauses, 8), 6);
    assert_true(str_is(clauses[0], "tags.rfm > 3"));
    assert_true(str_is(clauses[1], "tags.lifecycle == 'new' && tags.rfm > 1"));
    for (size_t i = 0; i < 6; i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "%.*s", STR_ARG(clauses[i]));
        part = good(text);
        rule_free(part);
    }
    assert_int_equal(rule_clauses(r, clauses, 5), 1);
    assert_true(str_eq(clauses[0], rule_text(r)));
    rule_free(r);
}

static void test_wanted_types(void **state)
{
    static const struct {
        const char *text;
        enum rule_type want;
        int result;
    } rows[] = {
        {"orders", RULE_NUMBER, 0},         {"orders", RULE_STRING, -EINVAL},   {"orders", RULE_ANY, 0},
        {"traits.vip", RULE_BOOL, 0},       {"traits.vip", RULE_NUMBER, 0},     {"now", RULE_ANY, -EINVAL},
        {"[1]", RULE_ANY, -EINVAL},         {"'a' + 'b'", RULE_STRING, 0},      {"days(1)", RULE_ANY, -EINVAL},
        {"tags.lifecycle", RULE_STRING, 0}, {"tags.rfm", RULE_STRING, -EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rule *r = NULL;
        struct rule_error e;
        if (compile(rows[i].text, rows[i].want, &r, &e) != rows[i].result)
            fail_msg("%s: %s", rows[i].text, e.message);
        rule_free(r);
    }
}

static void test_warnings(void **state)
{
    static const struct {
        const char *text;
        unsigned line, column; /* 0: none */
    } rows[] = {
        {"!(orders > 3)", 0, 0},
        {"!(days_since(last_order_at) > 30)", 1, 1},
        {"orders > 0 &&\n !(days_since(last_order_at) > 30)", 2, 2},
        {"has(last_order_at) && !(days_since(last_order_at) > 30)", 0, 0},
        {"has(last_order_at) || !(days_since(last_order_at) > 30)", 1, 23},
        {"has(traits.city) && (orders > 1 || !(traits.city == \"x\"))", 0, 0},
        {"has(traits.city) && !(traits.plan == \"x\")", 1, 21},
        {"!has(traits.city)", 0, 0},
        {"traits.city == null", 0, 0},
        {"traits.city != \"x\"", 0, 0},
        {"!consent.email", 1, 1},
        {"!(spent / orders > 3)", 1, 1},
        {"!(spent / 4 > 3)", 0, 0},
        {"!(count(\"page\", 30, e.title == \"x\") > 3)", 0, 0},
        {"count(\"page\", 30, !(e.title == \"x\")) > 3", 1, 19},
        {"!in_audience(\"vip\") && !exported(\"a\")", 0, 0},
        {"traits.gnder == \"x\"", 1, 8},
        {"traits.favourite_team == \"x\"", 0, 0},
        {"count(\"Product View\", 30) > 1", 1, 1},
        {"count(\"product viewed\", 30) > 1", 1, 1},
        {"count(\"Wishlist Opened\", 30) > 1", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rule *r = good(rows[i].text);
        const struct rule_warning *w;
        size_t n = rule_warnings(r, &w);
        if (n != (rows[i].line > 0) || (n > 0 && (w->line != rows[i].line || w->column != rows[i].column)))
            fail_msg("%s: %zu warnings: %u:%u: %s", rows[i].text, n, n ? w->line : 0, n ? w->column : 0,
                     n ? w->message : "");
        rule_free(r);
    }
}

static void test_catalog(void **state)
{
    struct rule_names n = names();
    struct json_parser *p = json_parser_new();
    const struct json *root;
    struct err e;
    struct buf b;
    size_t length;

    (void)state;
    buf_init(&b, 1 << 20);
    rule_catalog_write(&n, &b);
    length = b.n;
    assert_true(buf_room(&b, JSON_PADDING));
    assert_int_equal(json_parse(p, b.p, length, &root, &e), JSON_OK);
    assert_int_equal(json_get(root, "facts")->count, RULE_FACTS);
    assert_int_equal(json_get(root, "groups")->count, RULE_BYS + 1);
    assert_int_equal(json_get(root, "traits")->count, vocabulary_count(vocabulary));
    assert_int_equal(json_get(root, "tags")->count, 2);
    for (const struct json *f = json_get(root, "facts")->child; f; f = f->next) {
        char text[64]; /* what the catalogue names, compiles */
        (void)snprintf(text, sizeof text, "has(%.*s)", STR_ARG(json_get(f, "name")->text));
        rule_free(good(text));
    }
    for (const struct json *f = json_get(root, "functions")->child; f; f = f->next)
        assert_true(str_starts(json_get(f, "signature")->text, json_get(f, "name")->text));
    buf_deinit(&b);
    json_parser_free(p);
}

static int setup(void **state)
{
    struct buf errors;

    (void)state;
    buf_init(&errors, 1 << 16);
    vocabulary = vocabulary_load(NULL, &errors);
    buf_deinit(&errors);
    return vocabulary ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    vocabulary_free(vocabulary);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),  cmocka_unit_test(test_canonical),    cmocka_unit_test(test_needs),
        cmocka_unit_test(test_lists),   cmocka_unit_test(test_wanted_types), cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_catalog),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
