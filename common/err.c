/* The words of a failure. Any thread. */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Takes away a character of UTF-8 that was cut in its middle. */
static void trim_cut(char *text)
{
    size_t n = strlen(text), i = n;

    while (i > 0 && n - i < 4 && ((unsigned char)text[i - 1] & 0xc0) == 0x80)
        i--;
    if (i == 0)
        return;
    unsigned char lead = (unsigned char)text[i - 1];
    size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (n - (i - 1) < want)
        text[i - 1] = '\0';
}

static void write_text(char *out, size_t size, const char *format, va_list args)
{
    int n = vsnprintf(out, size, format, args);

    if (n < 0)
        out[0] = '\0';
    else if ((size_t)n >= size)
        trim_cut(out);
}

void err_set(struct err *e, const char *format, ...)
{
    va_list args;
    char text[sizeof e->text] = ""; /* an argument may be the text that is there */

    if (!e)
        return;
    va_start(args, format);
    write_text(text, sizeof text, format, args);
    va_end(args);
    memcpy(e->text, text, sizeof text);
}

void err_prefix(struct err *e, const char *format, ...)
{
    va_list args;
    char before[sizeof e->text], text[2 * sizeof e->text + 2];

    if (!e)
        return;
    va_start(args, format);
    write_text(before, sizeof before, format, args);
    va_end(args);
    snprintf(text, sizeof text, "%s: %s", before, e->text);
    err_set(e, "%s", text);
}
