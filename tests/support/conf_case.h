/* What the tests of the configuration share: reading a text, and keys that stand in it as hashes. */
#ifndef WAYMARK_TESTS_CONF_CASE_H
#define WAYMARK_TESTS_CONF_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/conf.h"
#include "common/limits.h"

#define HASH_A "a000000000000000000000000000000000000000000000000000000000000001"
#define HASH_B "B000000000000000000000000000000000000000000000000000000000000002"

/* The configuration of a text; the mistakes go to `errors` (4 KiB), which is "" when there are none. */
static inline struct conf *parse(const char *text, char *errors)
{
    struct buf b;

    buf_init(&b, 64 * KIB);
    struct conf *c = conf_parse("x.yaml", str_of(text), &b);
    buf_add_char(&b, '\0');
    snprintf(errors, 4096, "%s", b.p);
    buf_deinit(&b);
    assert_true((c == NULL) == (errors[0] != '\0'));
    return c;
}

static inline struct conf *parse_good(const char *text)
{
    char errors[4096];
    struct conf *c = parse(text, errors);

    if (!c)
        fail_msg("refused:\n%s%s", text, errors);
    return c;
}

#endif
