/* Whether somebody of the audience is in the file, and with which line. Pure but for the keys of traits; the export's
 * thread. */
#ifndef WAYMARK_EXPORT_JUDGE_H
#define WAYMARK_EXPORT_JUDGE_H

#include "profiler/export_make.h"

struct export_judge {
    const struct export_order *o;
    struct json_parser *parser;
    struct arena arena; /* of one person */
    struct buf line, value;
    struct str *names;  /* of trait columns */
    struct str *traits; /* their values */
    struct str *cells;
    size_t trait_count;
    bool wants_person;
    /* Of whoever was looked at last. */
    struct export_person person;
    unsigned found; /* bits of enum export_identifier in the line */
    bool marked;    /* the campaign has noted them before */
};

/* 0 or -ENOMEM. */
int export_judge_init(struct export_judge *j, const struct export_order *o);
/* A zeroed one is allowed. */
void export_judge_deinit(struct export_judge *j);
/* enum export_reason; EXPORT_REASONS: they are in it, and `line` is theirs; or a negative errno with words. */
int export_judge(struct export_judge *j, struct str id, struct rule_subject *s, struct err *e);

#endif
