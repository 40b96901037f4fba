/* The key by which profiles are named in the audit log, and the names that it makes. */
#ifndef WAYMARK_AUDIT_KEY_H
#define WAYMARK_AUDIT_KEY_H

#include <stdbool.h>

#include "common/err.h"
#include "common/str.h"

#define AUDIT_KEY_BYTES 32
#define AUDIT_HASH_BYTES 16

/* Reads audit.key of a data folder, or makes it (mode 0600, on disk when it returns) when it is missing and `make` is
 * set. 0, or a negative errno with `e` filled. */
int audit_key_load(const char *folder, bool make, unsigned char key[AUDIT_KEY_BYTES], struct err *e);
/* What stands for a profile ("user:42") or an order ("order:O1"). Pure. */
void audit_hash(const unsigned char key[AUDIT_KEY_BYTES], struct str target, unsigned char out[AUDIT_HASH_BYTES]);

#endif
