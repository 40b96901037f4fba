/* What the routes of rules, tags and audiences share. Private to api_*.c. */
#ifndef WAYMARK_API_AUDIENCE_H
#define WAYMARK_API_AUDIENCE_H

#include "common/json.h"
#include "profiler/api_ask.h"
#include "profiler/audiences.h"
#include "profiler/rule.h"

/* --- reading (api_audience_read.c): false or NULL when they have answered ------------------------------------- */

/* 1 to 64 letters, digits, '_', '.' and '-'. Pure. */
bool audience_name_good(struct str name);
/* Whether audiences are kept here. */
bool ask_has_audiences(struct ask *ask);
/* The same, and the name in the path is one. */
bool prepare_named(struct ask *ask);
/* The body, an object whose members are all of `known` (up to a NULL). Lives as long as the parser. */
const struct json *ask_read_object(struct ask *ask, struct json_parser *parser, const char *const *known);
/* A text member in the arena of the request; absent when it is not given. */
bool ask_read_text(struct ask *ask, const struct json *object, const char *name, struct str *out);
/* Compiles a rule that must be true or false, with the names of now. What names personal traits needs the scope pii. */
bool ask_compile(struct ask *ask, struct str text, struct rule **out);
/* 400 rule_invalid */
void ask_rule_error(struct ask *ask, const struct rule_error *e);
/* Of one who has asked for positions: whether everybody whom they changed was judged. False: it goes on later, from the
 * beginning of the route, or is answered. */
bool ask_is_judged(struct ask *ask);

/* Gives what goes through everybody to the thread for such; false when too many wait. Any thread. */
#define SCANS_WAITING 64
bool ask_scan(struct ask *ask, struct lookup_job *job);

/* --- several instances (api_gather.c) ------------------------------------------------------------------------- */

/* The partitions that may be shown here now, for each partition; in the arena of the request. NULL when one of them is
 * not ready, or memory is out: it is answered. */
const bool *partitions_here(struct ask *ask);
/* Whether they are still the same, so that what was read in between is of these; answers when not. */
bool partitions_same(struct ask *ask, const bool *here);
/* {"partitions":[0,2] */
void partitions_write(const struct ask *ask, const bool *here, struct buf *b);

/* On a look-up thread, or where ask_gather was called: joins the answers, objects, of which each speaks of partitions
 * of its own and all together of every partition. Answers. */
typedef void gather_join(struct ask *ask, const struct json *const *answers, size_t n);
/* Asks the instances that have what is not here the same (with `body` by POST, else by GET) and joins their answers
 * with that of this one (`here`, taken). When one does not answer within `ms` it is 503. Asked by another instance, it
 * answers what is here. */
void ask_gather(struct ask *ask, struct buf *here, struct str body, int64_t ms, gather_join *join);
/* The same with further parameters, encoded; NULL: none. */
void ask_gather_more(struct ask *ask, struct buf *here, const char *more, struct str body, int64_t ms,
                     gather_join *join);
/* Notes of which partitions an answer speaks. False when it is none, or speaks of one that another does too. */
bool partitions_told(const struct json *answer, uint32_t partitions, bool *told);

/* --- definitions (api_define.c) ------------------------------------------------------------------------------- */

/* Says to every partition what a name stands for; `body` absent: for nothing more. Goes on with `known` when it is
 * durable everywhere and folded (`in_time`), on a look-up thread; answers when it is not durable. The spans live as
 * long as the request. */
struct definition {
    enum definition_kind kind;
    struct str name, body;
    int64_t time; /* above that of the definition before it */
    void (*known)(struct ask *ask, const struct definition *d, bool in_time);
    bool created, same; /* the caller's: there was none of this name; it says what was said before */
    /* out */
    char *position; /* of X-Waymark-Position */
};
void ask_define(struct ask *ask, struct definition *d);

/* --- joining (api_audience_join.c) ---------------------------------------------------------------------------- */

/* An audience as this instance knows it, with what its definition says. */
void audience_write(struct buf *b, const struct audience_info *info);
/* Joins answers {"audiences":[…]}: by name the sizes are added; one that somebody does not have yet is building. False
 * when memory is out. `only` absent: all, as an array; else that one's object, and nothing when there is none. */
bool audiences_join(const struct json *const *answers, size_t n, struct str only, struct buf *b);

/* --- routes --------------------------------------------------------------------------------------------------- */

bool prepare_audiences(struct ask *ask);
void run_audiences(struct ask *ask);
void run_audience(struct ask *ask);
void run_put_audience(struct ask *ask);
void run_delete_audience(struct ask *ask);
bool prepare_members(struct ask *ask);
void run_members(struct ask *ask);
bool prepare_explain(struct ask *ask);
void run_explain(struct ask *ask);
void run_count(struct ask *ask);
void run_check_rule(struct ask *ask);
void run_catalog(struct ask *ask);
void run_tags(struct ask *ask);
/* Cut points now, or as of a moment. */
void run_cuts(struct ask *ask);
bool prepare_tag(struct ask *ask);
bool prepare_import_tags(struct ask *ask);
bool prepare_exports(struct ask *ask);
bool prepare_begin_export(struct ask *ask);
void run_begin_export(struct ask *ask);
void run_exports(struct ask *ask);
void run_export(struct ask *ask);
void run_export_file(struct ask *ask);
void run_campaign(struct ask *ask);

#endif
