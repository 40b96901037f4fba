/* Inside the webhooks: what their files share. Nobody else includes it.
 *
 *   webhooks.c         start, stop, the thread
 *   webhook_lane.c     reading LOG_AUDIENCES: one hook and one partition
 *   webhook_send.c     one hook: what waits, calls and their answers
 *   webhook_person.c   the body of a change, with what the hook is told of the person
 *   webhook_places.c   the file of what was delivered
 *   webhook_dead.c     the file of what was given up
 *   webhook_body.c     bodies and signatures, pure
 *
 * Everything is the thread's but what is under `lock`, and the figures, which are atomic. */
#ifndef WAYMARK_WEBHOOKS_INSIDE_H
#define WAYMARK_WEBHOOKS_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/copy_files.h"
#include "profiler/forward.h"
#include "profiler/webhook_body.h"
#include "profiler/webhooks.h"

#define WEBHOOK_ID_BYTES 160

/* A partition as one hook has read it. */
struct hook_lane {
    bool known; /* `next` and `pending` say something */
    bool here;  /* the reader stands at `next` */
    bool ours;  /* nobody else may have told of it since it was read from its place on */
    int64_t next;
    /* Before `next` and not delivered, of the last run: taken up when they are read. */
    int64_t *pending;
    size_t pending_count;
    int64_t until; /* one past what is read for the sake of `pending` */
    int64_t since; /* what is older is left out; TIME_NONE: nothing is */
};

/* A change that waits to be delivered. */
struct hook_item {
    uint32_t partition;
    int64_t offset, time;
    char *record; /* malloc */
    size_t bytes;
    uint64_t person; /* a hash of the id */
    unsigned tries;
    int64_t next_at; /* monotonic */
    bool under_way, dropped;
    char why[128]; /* the last try failed */
};

enum hook_result { HOOK_DELIVERED, HOOK_FAILED, HOOK_GIVEN_UP, HOOK_LEFT_OUT, HOOK_LOST, HOOK_RESULTS };

struct hook {
    struct webhooks *w;
    const struct conf_webhook *conf;
    struct log_reader *reader;                      /* NULL: not opened yet */
    struct hook_lane *lanes;                        /* by partition */
    struct hook_item *items[LIMIT_WEBHOOK_WAITING]; /* in the order in which they were read */
    size_t item_count;
    unsigned under_way;
    unsigned failed_row; /* tries that failed since one did not */
    bool off;
    uint32_t turn; /* the partition that is read first next time */
    struct log_limit limit;
    struct stats_counter *results[HOOK_RESULTS];
    atomic_size_t waiting;
    atomic_llong oldest; /* time of the oldest that waits; TIME_NONE: none does */
    atomic_bool is_off;
};

struct hook_call {
    struct forward_call call; /* first: the forwarder hands it back */
    struct hook *hook;
    struct hook_item *item;
    struct buf body;
    char id[WEBHOOK_ID_BYTES], lines[3][WEBHOOK_ID_BYTES + 64];
    const char *headers[4];
    struct hook_call *next;
};

struct webhooks {
    struct webhooks_options o;
    char folder[COPY_PATH_BYTES];
    uint32_t partitions;
    struct hook *hooks;
    size_t hook_count;
    struct forward *forward;
    struct arena arena; /* of one step */
    bool forgot;        /* what was delivered before the start */
    bool dirty;         /* places are to be written */
    int64_t write_at;   /* monotonic: not before */
    int64_t stand_at;   /* monotonic: the log is not asked for a place before */
    struct log_limit limit;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool woken, stopping;
    int64_t stop_at; /* monotonic */
    struct hook_call *answered;
};

/* --- webhook_lane.c: the thread ---------------------------------------------------------------------------------- */

/* Reads on in every partition that is ours, as far as there is room for what waits. True when there may be more to read
 * at once. */
bool hook_read(struct hook *h);
/* It is to be delivered once it is read again. -ENOMEM. */
int hook_lane_put_back(struct hook_lane *l, int64_t offset);
/* Nothing is pending. */
void hook_lane_forget(struct hook_lane *l);

/* --- webhook_send.c: the thread ---------------------------------------------------------------------------------- */

/* Takes it on; the record is copied. -ENOMEM. */
int hook_take(struct hook *h, uint32_t partition, const struct log_record *r, const struct audience_change *c);
/* Starts the calls whose time has come. When to look again, monotonic. */
int64_t hook_send(struct hook *h, int64_t now);
/* After an answer; frees the call. */
void hook_answered(struct hook_call *c, bool stopping);
/* What waits of a partition that is another's by now. */
void hook_drop(struct hook *h, uint32_t partition);
void hook_drop_all(struct hook *h);
void hook_figures(struct hook *h);
void hook_item_free(struct hook_item *i);

/* --- webhook_person.c -------------------------------------------------------------------------------------------- */

enum { PERSON_LEFT_OUT = 1 };
/* The body of a try. PERSON_LEFT_OUT: nobody is to be told any more, since the person is gone. Negative errno: later.
 */
int hook_body(struct hook *h, const struct hook_item *i, struct buf *out, struct err *e);

/* --- webhook_places.c -------------------------------------------------------------------------------------------- */

/* What the file says into the lanes; a file that is not there says nothing. 0, -EBADMSG or another negative errno with
 * words. */
int places_load(struct webhooks *w, struct err *e);
/* On disk when it returns. */
int places_save(struct webhooks *w, struct err *e);

/* --- webhook_dead.c ---------------------------------------------------------------------------------------------- */

void hook_bury(struct hook *h, const struct hook_item *i, const char *id);

/* --- webhooks.c -------------------------------------------------------------------------------------------------- */

void hook_id(const struct webhooks *w, uint32_t partition, int64_t offset, char out[WEBHOOK_ID_BYTES]);

#endif
