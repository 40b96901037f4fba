/* What an export is to be: the body of POST /v1/audiences/{name}/exports, read and checked. Pure. */
#ifndef WAYMARK_EXPORT_REQUEST_H
#define WAYMARK_EXPORT_REQUEST_H

#include "common/arena.h"
#include "common/err.h"
#include "profiler/export_normal.h"
#include "profiler/rule.h"

enum export_kind { EXPORT_CSV, EXPORT_NDJSON, EXPORT_GOOGLE, EXPORT_META, EXPORT_KINDS };
extern const char *const export_kind_names[EXPORT_KINDS];
enum export_channel { CHANNEL_NONE, CHANNEL_EMAIL, CHANNEL_SMS, CHANNEL_CALL, CHANNEL_ADS, EXPORT_CHANNELS };
extern const char *const export_channel_names[EXPORT_CHANNELS];

/* A column of a free list. */
enum export_column_kind {
    COLUMN_ID,
    COLUMN_EMAIL,   /* normal, not hashed */
    COLUMN_PHONE,   /* likewise, E.164 */
    COLUMN_TRAIT,   /* name */
    COLUMN_TAG,     /* name */
    COLUMN_CONSENT, /* name: true, false or nothing */
    COLUMN_RULE     /* the value of an expression over facts, traits and tags */
};
struct export_column {
    enum export_column_kind kind;
    struct str head; /* as it was asked for */
    struct str name;
    struct rule *rule;
};

struct export_request {
    struct arena arena; /* of everything here */
    enum export_kind kind;
    struct export_column *columns; /* of csv and ndjson */
    size_t column_count;
    struct str purpose;     /* consent for it was granted by everybody who is exported */
    struct str campaign;    /* absent: none */
    struct str destination; /* absent: none; with audience, format and campaign it tells deltas apart */
    enum export_channel channel;
    uint32_t hold_out;    /* millionths of those who would be exported */
    struct str *suppress; /* audiences */
    size_t suppress_count;
    struct str *listed; /* sorted: SHA-256 in hex of ids, normal addresses and numbers that are left out */
    size_t listed_count;
    bool delta;    /* what changed since the last one */
    bool anew;     /* it begins from nothing, whatever was told before */
    bool value;    /* of meta: a column of what was spent, for audiences made by value */
    bool personal; /* columns show personal values in the clear */
    enum gmail_mode gmail;
    unsigned cap_times, cap_days; /* 0: no cap */
    unsigned needs;               /* of the columns' rules */
};

/* `body` has JSON_PADDING readable bytes behind it and is written to. 0; -EINVAL with words and a code; -ENOMEM. The
 * names need not outlive the call. `country`: of telephone numbers. */
int export_request_read(char *body, size_t n, const struct rule_names *names, const char *country,
                        struct export_request **out, const char **code, struct err *e);
/* NULL is allowed. */
void export_request_free(struct export_request *r);
/* Whether the list of who is left out has that text (an id, address or number in its normal form). */
bool export_request_lists(const struct export_request *r, struct str text);
/* A name as audiences and campaigns have it: letters, digits, _ . -; up to 64. */
bool export_name_valid(struct str s);

#endif
