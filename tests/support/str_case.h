/* For tests that compare strings with a length: there, or not there, and byte by byte. After cmocka.h. */
#ifndef WAYMARK_TESTS_STR_CASE_H
#define WAYMARK_TESTS_STR_CASE_H

#include "common/str.h"

#define assert_str(a, b)                                                                                               \
    do {                                                                                                               \
        assert_int_equal((a).n, (b).n);                                                                                \
        assert_int_equal((a).p == NULL, (b).p == NULL);                                                                \
        if ((a).n)                                                                                                     \
            assert_memory_equal((a).p, (b).p, (a).n);                                                                  \
    } while (0)

#endif
