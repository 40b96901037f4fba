/* userHash: a beacon's proof that the shop's back end knows this account: the hex HMAC-SHA256 of the id under a secret
 * that stands in a file. The file is read again when it changes. */
#ifndef WAYMARK_USER_HASH_H
#define WAYMARK_USER_HASH_H

#include "common/err.h"
#include "common/str.h"

struct user_hash;

/* 0 or a negative errno with the words in `e`. Free with user_hash_free. */
int user_hash_open(const char *file, struct user_hash **out, struct err *e);
void user_hash_free(struct user_hash *u);
/* Whether `hex` is the id's hash; in a time that tells nothing. Any thread. */
bool user_hash_is(struct user_hash *u, struct str id, struct str hex);

#endif
