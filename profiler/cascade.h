/* Inside the state: what one record sets off, and what works it off. Only the files of the state include this. */
#ifndef WAYMARK_CASCADE_H
#define WAYMARK_CASCADE_H

#include "profiler/state_private.h"

/* --- cascade.c: what one record sets off ------------------------------------------------------------------------ */

/* Tells the partition that the record is for, this one or another: sets sender and version, and copies all of it. Only
 * while a record is worked out or a cascade is worked off, when nothing can fail any more: memory that is out ends the
 * process. Worker, without the lock. */
void tell(struct partition *p, struct internal *r);
/* Begins with a record of the log; ends with it: everything told to this partition is worked off, in order. On failure
 * call cascade_run again. 0 or negative errno. */
void cascade_begin(struct partition *p, int64_t offset);
int cascade_run(struct partition *p, struct err *e);
/* Forgets what is told and not worked off. */
void cascade_clear(struct cascade *c);
/* A record of another partition, to be worked off. 0, or -EINVAL: there is no such sender. */
int cascade_take(struct partition *p, const struct internal *r);
/* It is worked off. With the lock. */
void cascade_heard(struct partition *p);

/* --- what works off a record ---------------------------------------------------------------------------------- */

/* What works off a record. Each is called again with the same record after a failure (negative errno), which must have
 * shown nothing, or have counted in `done` the items that it has worked off. What is not newer than what is known of
 * its subject changes nothing. All of them with p->cascade.cause + 1 as the version of the profiles they change. */
int device_linked(struct partition *p, const struct internal *r, struct err *e);                  /* device.c */
int device_verdict(struct partition *p, const struct internal *r, struct err *e);                 /* device.c */
int device_unlink(struct partition *p, const struct command *c, struct err *e);                   /* device.c */
int device_recount(struct partition *p, struct str id, struct err *e);                            /* device.c */
int device_erase(struct partition *p, const struct internal *r, struct err *e);                   /* device.c */
int grave_heard(struct partition *p, const struct internal *r, struct err *e);                    /* grave.c */
int erase_profile(struct partition *p, const struct command *c, struct err *e);                   /* erase.c */
int account_member(struct partition *p, const struct internal *r, struct err *e);                 /* account.c */
int account_pair(struct partition *p, const struct internal *r, struct err *e);                   /* account.c */
int place_events(struct partition *p, const struct internal *r, size_t *done, struct err *e);     /* fold_entry.c */
int order_statements(struct partition *p, const struct internal *r, size_t *done, struct err *e); /* order_home.c */
int order_placed(struct partition *p, const struct internal *r, size_t *done, struct err *e);     /* fold_order.c */

/* An event says that the user of the account used the device. Changes the account and tells; only where tell may be
 * called. */
void account_evidence(struct partition *p, struct account *a, struct str device, const struct event_key *key);
/* To the home of an order: `bytes` absent: the event does not state it any more. */
void tell_statement(struct partition *p, struct str order_id, struct str owner, const struct event_key *key,
                    struct str bytes);

#endif
