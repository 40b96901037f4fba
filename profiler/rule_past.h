/* What rules found in the early part of a long path, remembered from one evaluation of the person to the next, so that
 * one event more does not have all of them looked at again: of each name that a rule has asked for the places of its
 * events in the order of events, and for each function of a rule what it made of each of them. Whoever evaluates gives
 * the subject the part of the path that is not in it (rule_subject.past), and is told -ENODATA where that is too
 * little: then the whole path has to be looked at once.
 *
 * Right only as long as that part of the path stays as it was, by the same compiled rules and while `now` goes forward.
 * One thread. */
#ifndef WAYMARK_RULE_PAST_H
#define WAYMARK_RULE_PAST_H

#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "profiler/rule_eval.h"

struct rule_node;
struct past_list;
struct past_memo;

/* --- who evaluates ---------------------------------------------------------------------------------------------- */

/* Empty; NULL: memory is out. */
struct rule_past *rule_past_new(void);
void rule_past_free(struct rule_past *p);
/* Forgets what it knows, but not what was asked. The next evaluation is of the whole path. */
void rule_past_reset(struct rule_past *p);
/* Bytes of memory behind it. */
size_t rule_past_bytes(const struct rule_past *p);
/* Whether a rule asks what cannot be remembered: something of an event that depends on more than the event. */
bool rule_past_useless(const struct rule_past *p);
/* After all rules of the subject were evaluated: takes in its events before a time. 0 or negative errno, and then it is
 * to be reset. */
int rule_past_take(struct rule_past *p, struct rule_subject *s, int64_t before);

/* --- rule_*.c --------------------------------------------------------------------------------------------------- */

/* Of a name, made when it is asked for first. 0, -ENODATA: its events are not known, -ENOMEM. */
int past_list(struct rule_past *p, struct str name, struct past_list **out);
/* How many events it has, and the key of one. */
size_t past_count(const struct past_list *l);
const struct event_key *past_key(const struct past_list *l, size_t i);
/* What a function knows of events from `from` on; made when it is asked for first. 0, -ENODATA, -ENOMEM. */
int past_memo(struct rule_past *p, struct past_list *l, const struct rule_node *n, size_t from, struct past_memo **out);
/* Of a count with a condition: how many fulfil it from `from` on, and the first of them, SIZE_MAX: none. */
size_t past_matching(const struct past_memo *m, size_t from);
size_t past_next(const struct past_memo *m, size_t from);
/* Of an interest: what was met; absent: nothing. */
struct str past_text(const struct past_memo *m, size_t i);
/* Of last(): its property of the latest event. */
struct rule_value past_value(const struct past_memo *m);

#endif
