/* The tokens that may ask: those of the configuration, and those of profiler.tokens_file, which is read again when it
 * changes. A thread of its own looks at the file once a second; one with a mistake changes nothing. */
#ifndef WAYMARK_TOKENS_H
#define WAYMARK_TOKENS_H

#include <stdbool.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/stats.h"
#include "common/str.h"

struct tokens;

struct token_found {
    char name[LIMIT_TOKEN_NAME + 1];
    unsigned scopes; /* SCOPE_… */
};

/* Fails when the file has a mistake. `conf` must outlive it. 0, or a negative errno with `e` filled. */
int tokens_start(const struct conf_profiler *conf, struct stats *stats, struct tokens **out, struct err *e);
/* Nobody calls tokens_find any more. NULL is allowed. */
void tokens_stop(struct tokens *t);
/* Looks the secret up, in a time that says nothing about which token it is or how near to one. Any thread; never waits
 * for the file. */
bool tokens_find(struct tokens *t, struct str secret, struct token_found *out);
/* The file is read again at once, whether it changed or not. Any thread; does not wait for it. */
void tokens_reload(struct tokens *t);

#endif
