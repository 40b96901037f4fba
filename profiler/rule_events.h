/* What several rules of one person share while they are evaluated: the events of the path by their names, those that
 * the orders stand for, events taken apart as far as a rule asked, money by time, traits that were opened. Made on
 * need, so a rule that asks facts only pays for nothing of it. One thread. Private to rule_*.c. */
#ifndef WAYMARK_RULE_EVENTS_H
#define WAYMARK_RULE_EVENTS_H

#include "common/json.h"
#include "common/limits.h"
#include "profiler/order.h"
#include "profiler/path.h"
#include "profiler/rule_eval.h"
#include "profiler/rule_past.h"
#include "profiler/rule_tree.h"

/* A member of the properties that a client sent. */
struct rule_member {
    struct str key;
    struct rule_value value; /* of one that is a list or a map only the type */
    struct str raw;
};

/* An event as far as conditions have asked for it. */
struct rule_opened {
    struct arena *arena;
    struct event event; /* of an order: the statement whose person has it */
    bool unsealed;      /* personal properties stand where they belong */
    bool read;          /* members are */
    struct rule_member *members;
    size_t member_count;
};

/* Of the path, or what an order says happened. */
struct rule_event {
    const struct event_key *key;
    const struct path_entry *entry; /* NULL: of an order */
    const struct order *order;
    const struct order_refund *refund; /* of Order Refunded */
    struct rule_opened *opened;        /* kept, or NULL */
};

/* In the order of events: first those that are in the past of the subject, then the others. */
struct rule_event_list {
    struct rule_event *v;
    size_t n;
    struct past_list *past; /* of `before` events; NULL: there is none */
    size_t before;
};

/* What a counted order or a refund in the configured currency moved. */
struct rule_money_moved {
    int64_t time;
    money spent, gross; /* micros */
    int64_t items;
};

struct rule_trait_memo {
    struct str name;
    struct rule_value value;
};

#define RULE_TRAIT_MEMOS 64

struct rule_events {
    struct arena kept;      /* opened events, as many as fit */
    struct arena passing;   /* one that does not */
    struct arena scratch;   /* of a condition about one event */
    struct rule_opened one; /* in `passing` */
    const struct rule_event *one_of;
    struct json_parser *json;
    struct buf text; /* what it parses */

    bool path_read, orders_read, money_read;
    struct rule_event *path; /* by name, then in the order of events */
    size_t path_count;
    struct rule_name *names; /* in the order in which they were met */
    uint32_t *name_table;    /* their numbers by hash */
    size_t name_room, name_count;
    struct rule_event_list pages, screens;
    bool pages_read, screens_read;
    struct rule_event *orders; /* completed, then cancelled, then refunded */
    struct rule_event_list completed, cancelled, refunded;
    struct event_key *order_keys;
    struct rule_money_moved *money;
    size_t money_count;

    struct rule_trait_memo memos[RULE_TRAIT_MEMOS];
    size_t memo_count;
};

/* Those of the subject, made at the first call; NULL: memory is out. */
struct rule_events *rule_events_of(struct rule_subject *s);
/* All events of that name: of tracks, pages and screens; "page" is every page and screen, "screen" every screen. Of the
 * three that orders stand for, those. 0, -EIO or -ENOMEM. */
int rule_events_named(struct rule_subject *s, struct str name, struct rule_event_list *out);
static inline size_t rule_events_count(const struct rule_event_list *l)
{
    return l->before + l->n;
}
const struct event_key *rule_events_key(const struct rule_event_list *l, size_t i);
/* The index of the first of a list that is later than a moment. */
size_t rule_events_after(const struct rule_event_list *l, int64_t ms);
/* The same of one that comes after a place in the order of events. */
size_t rule_events_behind(const struct rule_event_list *l, const struct event_key *key);
/* Counted orders, and their refunds and those of credit notes, by time. 0 or -ENOMEM. */
int rule_money_of(struct rule_subject *s, const struct rule_money_moved **out, size_t *n);
#endif
