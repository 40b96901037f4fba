/* The checked tree of a rule: what rule_check leaves and rule_eval walks. Private to rule_*.c. */
#ifndef WAYMARK_RULE_TREE_H
#define WAYMARK_RULE_TREE_H

#include "common/arena.h"
#include "profiler/facts.h"
#include "profiler/rule.h"

enum rule_op {
    /* constants */
    OP_BOOL,
    OP_NUMBER,   /* number */
    OP_STRING,   /* text */
    OP_DURATION, /* ms; hours(24), days(7), duration("36h") of a constant */
    OP_NULL,     /* never in a checked tree: x == null is !has(x) */
    OP_LIST,     /* kids */
    OP_MAP,      /* kids: key, value, key, value */
    /* names */
    OP_NOW,
    OP_FACT,     /* fact */
    OP_BY,       /* by.GROUP[kid].figure: group (or hour, weekday), figure; the key may be any string */
    OP_AMOUNTS,  /* amounts_by_currency[kid].figure */
    OP_TRAIT,    /* text; a number of kids are fields or keys further in, in their order */
    OP_TAG,      /* text */
    OP_CONSENT,  /* text */
    OP_PROPERTY, /* e.NAME inside a condition: text, and kids as in OP_TRAIT */
    /* operators */
    OP_AND,
    OP_OR,
    OP_NOT,
    OP_TERNARY,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD,
    OP_NEG,
    OP_INDEX, /* kid 0 [kid 1], of lists and maps made in the rule */
    /* functions of CEL */
    OP_SIZE,
    OP_CONTAINS,
    OP_STARTS_WITH,
    OP_ENDS_WITH,
    OP_LOWER,
    OP_UPPER,
    OP_TRIM,
    OP_TO_INT,
    OP_TO_DOUBLE,
    OP_TO_STRING,
    OP_TIMESTAMP,
    /* ours */
    OP_HAS, /* kid */
    OP_TODAY,
    OP_DATE,
    OP_MONTH,
    OP_DAYS_SINCE,
    OP_ANNIVERSARY, /* kids: time, days */
    OP_COUNT,       /* text: name of events; window_ms; kid 0: condition, may be missing */
    OP_SUM,         /* money: which; window_ms */
    OP_LAST,        /* text; kids: property path as in OP_TRAIT; the value of that property of the latest such event */
    OP_FOLLOWED_BY, /* text, second; within_ms */
    OP_NOT_FOLLOWED_BY, /* text, second; within_ms, window_ms */
    OP_IN_AUDIENCE,
    OP_EXPORTED, /* text */
    OP_QUINTILE, /* fact: 1…5 of the person's value among people with a counted order; absent for who has none */
    OP_TOP,      /* by.group, by.figure: the name with the greatest figure; a number of hour and weekday */
    OP_NAMES,    /* by.group, by.figure (FIGURES_NONE: any): how many names have it */
    OP_INTEREST, /* text, second: the value of that property with the greatest decayed sum; within_ms: the half-life */
    OP_COUNT_OF_OPS
};

/* Facts by their names in INTERFACE. The order is that of the catalogue. */
enum rule_fact {
    FACT_FIRST_SEEN,
    FACT_LAST_SEEN,
    FACT_FIRST_EVENT_AT,
    FACT_LAST_EVENT_AT,
    FACT_EVENTS,
    FACT_SESSIONS,
    FACT_PAGES,
    FACT_PRODUCTS_VIEWED,
    FACT_PRODUCTS_ADDED,
    FACT_PRODUCTS_REMOVED,
    FACT_CHECKOUTS,
    FACT_ORDERS,
    FACT_ORDERS_CANCELLED,
    FACT_ORDERS_REFUNDED,
    FACT_CREDIT_NOTES,
    FACT_ITEMS,
    FACT_GROSS,
    FACT_REFUNDED,
    FACT_SPENT,
    FACT_DISCOUNT,
    FACT_COST,
    FACT_MARGIN,
    FACT_FIRST_ORDER_AT,
    FACT_LAST_ORDER_AT,
    FACT_MEAN_DAYS_BETWEEN_ORDERS,
    FACT_REFERRED_BY,
    RULE_FACTS
};

/* A fact, its type, and whether somebody may have none. */
struct rule_fact_kind {
    const char *name;
    enum rule_type type;
    bool may_lack;
    const char *description;
};

enum rule_money { SUM_SPENT, SUM_GROSS, SUM_ITEMS };

/* by.hour and by.weekday, behind the maps of facts.h. */
enum { BY_HOUR = FACTS_MAPS, BY_WEEKDAY, RULE_BYS };
enum rule_figure {
    FIGURE_VIEWS,
    FIGURE_ADDED,
    FIGURE_ORDERED,
    FIGURE_AMOUNT,
    FIGURE_ORDERS,
    FIGURE_PAGES,
    FIGURE_COUNT,
    FIGURE_GROSS,
    FIGURE_REFUNDED,
    FIGURE_SPENT,
    FIGURE_DISCOUNT,
    FIGURES_NONE
};

/* Exact: a quotient of whole numbers, 0 < below. Amounts are micros / 1000000. What leaves the bounds of 128 bits is
 * absent. See rule_number.h. */
struct rule_number {
    __int128 above, below;
};

#define RULE_EVER (-1) /* window_ms: no window */
#define RULE_KIDS 4    /* of functions; lists, && and || have as many as they need */

struct rule_node {
    enum rule_op op;
    enum rule_type type;
    unsigned line, column; /* of the operator or function */
    size_t from, to;       /* bytes of the rule's text that it was made from, for explain */
    struct rule_node **kids;
    size_t kid_count;
    union {
        bool truth;
        struct rule_number number;
        int64_t ms; /* OP_DURATION */
        enum rule_fact fact;
        enum rule_money money;
        struct {
            unsigned group;
            enum rule_figure figure;
        } by;
    };
    struct str text, second; /* in the rule's arena */
    int64_t window_ms, within_ms;
    bool personal; /* a personal trait, or a property that is one */
};

struct rule {
    struct arena arena; /* everything of it */
    struct str text;
    struct rule_node *root;
    size_t nodes;
    unsigned needs;
    bool personal;
    struct rule_warning *warnings;
    size_t warning_count;
    struct str *tags, *audiences, *campaigns;
    size_t tag_count, audience_count, campaign_count;
};

extern const struct rule_fact_kind rule_facts[RULE_FACTS];
extern const char *const rule_by_names[RULE_BYS];
extern const char *const rule_figure_names[FIGURES_NONE];

#endif
