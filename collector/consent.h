/* What an event says its person agreed to, in the forms that clients have, as one JSON object {"purpose":bool}. Pure.
 */
#ifndef WAYMARK_CONSENT_H
#define WAYMARK_CONSENT_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/json.h"

#define CONSENT_PURPOSES 50 /* of one event */
#define CONSENT_NAME 64     /* bytes of a purpose's name */

struct consent_source {
    /* Of the context, over the batch's; top level, over the batch's. Later ones win. NULL where there is none. */
    const struct json *stated[4];
    bool refuse_analytics;          /* DNT */
    bool refuse_marketing_and_sale; /* Sec-GPC */
};

/* The object, its names sorted; absent when nothing is stated. *ignored: something was stated that cannot be read, or
 * is too much. 0 or -ENOMEM. */
int consent_read(const struct consent_source *from, struct arena *a, struct str *out, bool *ignored);

#endif
