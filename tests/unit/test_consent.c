/* Consent in the forms that clients send, alone and over each other, and what the headers of a request refuse. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector/consent.h"
#include "tests/support/decode_case.h"

static struct decode_notes notes;

static const struct decode_case forms[] = {
    /* Segment */
    {"{'type':'page','userId':'u','context':{'consent':{'categoryPreferences':{'marketing':false,'analytics':true},'"
     "version'"
     ":2}}}",
     "consent={'analytics':true,'marketing':false}"},
    /* plain */
    {"{'type':'page','userId':'u','consent':{'analytics':false}}", "consent={'analytics':false}"},
    {"{'type':'page','userId':'u','consent':{'Personalization':true,'x':null}}", "consent={'personalisation':true}"},
    /* words, as Google's consent mode and others have them */
    {"{'type':'page','userId':'u','consent':{'ad_storage':'denied','analytics_storage':'granted','a':'OPT_OUT','b':1}}",
     "consent={'a':false,'ad_storage':false,'analytics_storage':true,'b':true}"},
    /* lists: of those agreed to, and with answers */
    {"{'type':'page','userId':'u','consent':['analytics','marketing']}", "consent={'analytics':true,'marketing':true}"},
    {"{'type':'page','userId':'u','consent':{'purposes':[{'id':'C0001','status':'ACTIVE'},{'Id':'C0002','"
     "TransactionType':'"
     "WITHDRAWN'}]}}",
     "consent={'C0001':true,'C0002':false}"},
    {"{'type':'page','userId':'u','consent':[{'purpose':'marketing','granted':false}]}", "consent={'marketing':false}"},
    {"{'type':'page','userId':'u','consent':{'marketing':{'granted':false,'time':1}}}", "consent={'marketing':false}"},
    /* the later of one name, the call's over the context's */
    {"{'type':'page','userId':'u','consent':{'a':true,'a':false}}", "consent={'a':false}"},
    {"{'type':'page','userId':'u','consent':{'a':false},'context':{'consent':{'a':true,'b':true}}}",
     "consent={'a':false,'b':true}"},
    /* nothing said */
    {"{'type':'page','userId':'u','consent':{}}", ""},
    {"{'type':'page','userId':'u','consent':null}", ""},
    {"{'type':'page','userId':'u'}", ""},
    /* what cannot be read is ignored and counted, what can be is not lost with it */
    {"{'type':'page','userId':'u','consent':'yes'}", " CONSENTS=1"},
    {"{'type':'page','userId':'u','consent':7}", " CONSENTS=1"},
    {"{'type':'page','userId':'u','consent':{'a':'perhaps','b':false}}", "consent={'b':false} CONSENTS=1"},
    {"{'type':'page','userId':'u','consent':{'':true}}", " CONSENTS=1"},
    {"{'type':'page','userId':'u','consent':[7,{'purpose':'a'},{'granted':true},null,'b']}",
     "consent={'b':true} CONSENTS=1"},
    {"{'type':'page','userId':'u','consent':{'0123456789012345678901234567890123456789012345678901234567890123':true}}",
     "consent={'0123456789012345678901234567890123456789012345678901234567890123':true}"},
    {"{'type':'page','userId':'u','consent':{'01234567890123456789012345678901234567890123456789012345678901234':true}"
     "}",
     " CONSENTS=1"},
};

static const struct decode_case batches[] = {
    {"{'batch':[{'type':'page','userId':'u'}],'context':{'consent':{'a':true}},'consent':{'b':false}}",
     "consent={'a':true,'b':false}"},
    {"{'batch':[{'type':'page','userId':'u','context':{'consent':{'a':false}}}],'context':{'consent':{'a':true,'b':"
     "true}}}",
     "consent={'a':false,'b':true}"},
};

/* What headers refuse stands whatever the event says; what it refuses itself stands, too. */
static const struct decode_case headers[] = {
    {"{'type':'page','userId':'u'}", "consent={'analytics':false,'marketing':false,'sale':false}"},
    {"{'type':'page','userId':'u','consent':{'analytics':true,'a':true,'sale':true,'b':false}}",
     "consent={'a':true,'analytics':false,'b':false,'marketing':false,'sale':false}"},
};

/* Only the words about consent. */
static size_t run(const struct decode_case *cases, size_t n, enum case_form form, bool refused)
{
    struct case_run r;
    size_t wrong = 0;

    case_init(&r);
    for (size_t i = 0; i < n; i++) {
        struct decode_input in = {
            .trust = TRUST_SERVER, .notes = &notes, .refuse_analytics = refused, .refuse_marketing_and_sale = refused};
        struct buf is;
        char want[512];
        case_run(&r, decode_event, form, in, str_of(cases[i].json));
        assert_int_equal(r.rc, DECODE_OK);
        buf_init(&is, MIB);
        if (str_has(r.event.consent))
            buf_addf(&is, "consent=%.*s", STR_ARG(r.event.consent));
        if (notes.consents_ignored)
            buf_addf(&is, " CONSENTS=%u", notes.consents_ignored);
        snprintf(want, sizeof want, "%s", cases[i].want);
        for (char *p = want; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        if (!str_eq(buf_str(&is), str_of(want)) && !(is.n == 0 && !*want)) {
            fprintf(stderr, "%s\n  is   %.*s\n  want %s\n", cases[i].json, STR_ARG(buf_str(&is)), want);
            wrong++;
        }
        buf_deinit(&is);
    }
    case_deinit(&r);
    return wrong;
}

static void test_forms(void **state)
{
    (void)state;
    assert_int_equal(run(forms, sizeof forms / sizeof *forms, CASE_ALONE, false), 0);
    assert_int_equal(run(batches, sizeof batches / sizeof *batches, CASE_BATCH, false), 0);
}

static void test_headers(void **state)
{
    (void)state;
    assert_int_equal(run(headers, sizeof headers / sizeof *headers, CASE_ALONE, true), 0);
}

/* More purposes than are kept: the first ones stand, and what headers refuse is among them. */
static void test_many(void **state)
{
    struct json_parser *parser = json_parser_new();
    struct arena a;
    struct buf text;
    const struct json *v;
    struct str out;
    bool ignored;

    (void)state;
    arena_init(&a, MIB);
    buf_init(&text, MIB);
    for (int i = 0; i < 200; i++)
        buf_addf(&text, "%c\"p%03d\":true", i ? ',' : '{', i);
    buf_add_text(&text, "}");
    size_t n = text.n;
    for (int i = 0; i < JSON_PADDING; i++)
        buf_add_char(&text, '\0');
    assert_int_equal(json_parse(parser, text.p, n, &v, NULL), JSON_OK);
    const struct consent_source from = {.stated = {NULL, NULL, NULL, v}, .refuse_marketing_and_sale = true};
    assert_int_equal(consent_read(&from, &a, &out, &ignored), 0);
    assert_true(ignored);
    assert_non_null(memmem(out.p, out.n, "\"marketing\":false", 17));
    assert_non_null(memmem(out.p, out.n, "\"sale\":false", 12));
    assert_non_null(memmem(out.p, out.n, "\"p047\":true", 11));
    assert_null(memmem(out.p, out.n, "\"p048\"", 6));
    arena_deinit(&a);
    arena_init(&a, 64);
    assert_int_equal(consent_read(&from, &a, &out, &ignored), -ENOMEM);
    arena_deinit(&a);
    buf_deinit(&text);
    json_parser_free(parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms), cmocka_unit_test(test_headers),
                                       cmocka_unit_test(test_many)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
