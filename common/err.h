/* How functions of ours fail. A return value of 0 is success, a negative errno is broken (pass it up unchanged), a
 * positive value is an outcome named in the module's own enum. `struct err` carries the words for a person: filled by
 * the layer that met the failure, printed once by the layer that gives up. Any thread. */
#ifndef WAYMARK_ERR_H
#define WAYMARK_ERR_H

#include <stdbool.h>

struct err {
    bool retriable; /* the same call may succeed later without anybody's help */
    char text[256];
};

/* Writes the text, cut to fit; `e` may be NULL. */
void err_set(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts words and ": " before the text that is there. */
void err_prefix(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
