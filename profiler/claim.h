/* One partition's claim on the log, as a machine that is told what happened and when. It keeps the rules claim, wait,
 * fold, asked and clock of ownership.h. Pure: times are arguments, of the boot clock in ms. */
#ifndef WAYMARK_CLAIM_H
#define WAYMARK_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

#define CLAIM_TERM_MS 1000 /* how long an answer of the log is good for, from when it was asked */
#define CLAIM_WAIT_MS 1020 /* until an owner before is silent for sure: the term, and what clocks may differ */
#define CLAIM_EVERY_MS 250
#define CLAIM_AGAIN_MS 1000 /* between tries of an append */
#define CLAIM_LOST_MS 10000 /* before another claim is disputed: about the session of a group */
#define CLAIM_FOR_EVER INT64_MAX

struct claim {
    bool given;        /* the group says that it is ours */
    bool lost;         /* but somebody has claimed it after us */
    uint64_t stint;    /* goes up whenever it is ours anew; 0: never was */
    uint64_t serial;   /* of the last append */
    bool appending;    /* its fate is not known */
    int64_t append_at; /* when the next one is due */
    int64_t offset;    /* of the claim that counts; -1: none */
    int64_t show_from; /* rule `wait` */
    int64_t target;    /* rule `fold`; -1: not known yet */
    int64_t term;      /* rule `asked`: shown before then; 0: never */
};

void claim_init(struct claim *c);
/* The group gives it; a claim is due at once. */
void claim_given(struct claim *c, int64_t now);
/* It is ours without a claim, for as long as it is given: nobody else can have the log. */
void claim_given_for_good(struct claim *c, int64_t show_from, int64_t target);
void claim_taken(struct claim *c);
/* Whether it is to be folded here. */
bool claim_follows(const struct claim *c);

/* Whether a claim is to be appended now; when it is one of ours that was lost, it is ours anew from here on. */
bool claim_due(struct claim *c, int64_t now);
/* It is being appended: the number by which its fate is told. */
uint64_t claim_append(struct claim *c);
/* The fate of an append; of one that is not the last it says nothing. */
void claim_acked(struct claim *c, uint64_t serial, int64_t offset, int64_t now);
void claim_failed(struct claim *c, uint64_t serial, int64_t now);

/* What the log said of the end of the claims, asked at `asked` while `serial` was the last append and acked. */
enum claim_told { CLAIM_OURS, CLAIM_LOST, CLAIM_GONE, CLAIM_STALE };
enum claim_told claim_told(struct claim *c, uint64_t serial, int64_t end, int64_t asked, int64_t now);
/* Whether the end of the events is to be asked for: the wait is over. */
bool claim_wants_target(const struct claim *c, int64_t now);
void claim_set_target(struct claim *c, uint64_t serial, int64_t end);

/* Whether a partition of which everything below `shown` is folded may be shown. */
bool claim_serves(const struct claim *c, int64_t shown, int64_t now);
/* Why not, in words; "" when it does. */
const char *claim_why(const struct claim *c, int64_t shown, int64_t now);
/* When something is due that no answer brings: an append, or the end of the wait. INT64_MAX: nothing. */
int64_t claim_next(const struct claim *c, int64_t now);

#endif
