/* What the files of the API share: one request on its way, and how it is answered. Private to api*.c. */
#ifndef WAYMARK_API_ASK_H
#define WAYMARK_API_ASK_H

#include "common/arena.h"
#include "common/http.h"
#include "common/limits.h"
#include "common/tls.h"
#include "profiler/api.h"
#include "profiler/audit.h"
#include "profiler/cursor.h"
#include "profiler/lookup.h"
#include "profiler/traits.h"

struct ask;
struct json;
struct audit_target;
struct held_answer;
struct settle;
struct erasing;
struct identity_step;
struct definition;
struct import;
struct mark;

/* A route: what it takes and who does it. */
struct route {
    const char *label;
    const char *allow;       /* methods, as in Allow */
    const char *segments[6]; /* NULL ends; "*" is an id, "@" a name */
    unsigned scope;          /* the token must have one of these; 0: no token asked for */
    enum audit_kind audit;   /* of what it does; AUDIT_BY_TOKEN when not given */
    bool personal_id;        /* the id is user:… or anon:… */
    bool as_named;           /* it is answered for the id itself, also for that of a linked device */
    bool cached;             /* the answer as of now is what the cache holds */
    bool urgent;
    /* On a pool thread: reads its own parameters. False when it has answered. NULL: it has none. */
    bool (*prepare)(struct ask *ask);
    /* On a look-up thread: answers. NULL: `prepare` has. */
    void (*run)(struct ask *ask);
    /* Whether what the route itself waits for is there; for tail. */
    bool (*met)(const struct ask *ask);
};

/* What the path of a request names. */
struct route_names {
    struct str id, name;
};

/* An offset of a partition. */
struct place_on_log {
    uint32_t partition;
    int64_t offset;
};

/* A question to another instance; see api_peer.c. */
struct peer_call {
    struct forward_call call;
    struct ask *ask;
    char base[128]; /* for the operators' log */
    struct buf url;
    void (*done)(struct peer_call *c);
};

#define ASK_MAGIC 0x61736b21u

/* One request; lies in the request's arena. */
struct ask {
    struct lookup_job job; /* first: the look-ups hand it back */
    unsigned magic;
    struct api *api;
    struct http_request *request;
    const struct route *route;
    char who[LIMIT_TOKEN_NAME + 1]; /* the token's name; "" without one */
    unsigned scopes;                /* of the token: SCOPE_… */
    /* audit: api_audit.c */
    struct audit_target *audit_first;
    size_t audit_targets;
    uint64_t audit_count;
    bool audit_counted, audit_nothing, audit_broken;
    bool audit_before; /* the change stands there before it is made; of its answer only a failure does */
    char request_id[AUDIT_REQUEST + 1]; /* of a request that is sent on, or was; "" */
    struct held_answer *held;
    bool changing;      /* counted in the API's `changing` */
    int64_t arrived;    /* monotonic ms */
    bool forwarded;     /* by another instance: never sent on again */
    struct str id;      /* "user:42", or an order's id */
    struct str name;    /* of a tag, an audience, a campaign, or the id of an export */
    struct str named;   /* the device that was asked for, when `id` is its user; else absent */
    uint32_t partition; /* of a personal id; else of the profile that was read last */
    bool in_time;       /* what was waited for is there */
    const struct place_on_log *after;
    size_t after_count;
    int64_t wait_ms;
    struct settle *settle; /* of one that waits for positions, or has; api_settle.c */
    bool until_clean;      /* it waits also until what was erased at these positions is in no file */
    bool until_lost;       /* of a forwarded one: only until none is in a file of a partition that is another's */
    /* Goes on when all that is so, or not in time; NULL: as the route does, or 503. On a look-up thread, or where
     * settle_start is called. */
    void (*settled)(struct ask *ask, bool in_time);
    int64_t again_until; /* monotonic: it waits so long for what is held; 0: it does not */
    int64_t as_of;       /* TIME_NONE: now */
    /* path */
    int64_t from, to; /* TIME_NONE: open */
    bool desc, has_cursor;
    struct event_key last; /* where the page before ended */
    bool among_orders;     /* data: there, among the orders */
    size_t limit;
    /* traits, of a profile */
    struct traits_show show;
    const char *show_query; /* what the body says of that, as a query for other instances; NULL: nothing */
    /* tail */
    enum log_topic topic;
    int64_t *next;    /* offset to read next, for each partition of the topic */
    const bool *told; /* for each partition, whether the answer speaks of it */
    /* scene */
    struct str owner; /* a profile's id; absent until the order's home has named it */
    bool names_owner; /* of a forwarded one: that is all that is asked for */
    unsigned tries;
    const struct identity_step *step; /* of an unlink */
    struct erasing *erasing;          /* DELETE of a profile, and what asks for it; api_erasure.h */
    /* many profiles */
    struct many *many;
    /* audiences */
    bool judged;                /* it has waited for that */
    uint64_t judged_by;         /* audiences_moment of when it began to */
    struct definition *defined; /* api_define.c */
    struct mark *mark;          /* api_tag.c */
    struct import *import;
    struct audience_place place;
    struct str person; /* of explain: another instance says whom a linked device means */
    /* on its way over the cache or another instance */
    struct cache_question question;
    struct peer_call peer;
};

/* What became of a question to another instance. */
enum peer_result { PEER_ANSWERED, PEER_REFUSED, PEER_FAILED, PEER_FULL, PEER_UNKNOWN, PEER_RESULTS };

struct api {
    struct api_options o;
    struct http_server *server, *metrics_server;
    struct tls *tls;   /* of `server`; NULL: plain HTTP */
    bool metrics_here; /* /metrics stands on the own port */
    struct stats_counter *peers[PEER_RESULTS];
    struct tokens *tokens;
    _Atomic unsigned changing; /* changes that are on their way to the log */
    struct tails *tails;       /* api_tail_read.c */
    _Atomic unsigned fetches;  /* files that are put together from parts; api_export_file.c */
    struct lookups *scans;     /* look-ups that go through everybody have a thread of their own */
    _Atomic bool stopping;     /* they are to end */
    _Atomic int64_t defined;   /* the latest time of a definition that was made here */
};

/* --- finding a route (api_routes.c) --------------------------------------------------------------------------- */

/* That of the path and the method, else one of the path; NULL: there is none. */
const struct route *api_route_find(struct http_request *r, struct route_names *names);
bool api_route_takes(const struct route *route, struct str method);
/* 405 with the methods of all routes of the path. */
void api_refuse_method(struct http_request *r, const struct route *route);

/* --- answering (api_answer.c) --------------------------------------------------------------------------------- */

/* The answer is taken out of the buffer; one that did not fit becomes an error. */
void ask_answer(struct ask *ask, struct buf *body);
/* {"code":…,"message":…} */
void ask_error(struct ask *ask, unsigned status, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What the state says instead of an answer. A failure of the store: 503, and a line in the log. -EBUSY, when memory is
 * short, is only the 503. -EAGAIN, STATE_LINKED: it runs again, from its beginning, when it can be answered. */
void ask_broken(struct ask *ask, int r, const struct err *e);
/* One that another instance understands; the body is taken. */
void ask_answer_status(struct ask *ask, unsigned status, struct buf *body);
/* The answer of another instance as it is; its body is taken. */
void ask_pass_on(struct ask *ask, struct peer_call *c);
void request_error(struct http_request *r, unsigned status, const char *code, const char *allow, const char *message);

/* --- who asks (api_auth.c) ------------------------------------------------------------------------------------ */

/* Whether the token of the request is one and has the scope of its route: then `who` and `scopes` are set. Answers when
 * not. */
bool ask_authorise(struct ask *ask);
/* Whether the answer may hold personal values unmasked: the token has the scope pii. Pure. */
bool ask_sees_pii(const struct ask *ask);

/* --- the audit log (api_audit.c) ------------------------------------------------------------------------------ */

/* Sends the answer of a request, and before it notes what the audit log must have: every answer of a route that asks
 * for a token goes through here, but for what is said when it cannot be recorded. A body_buf is taken. Any thread; does
 * not wait. */
void ask_send(struct ask *ask, const struct http_answer *answer);
/* For the record: one more profile ("user:42") that the answer tells of, beside the id of the path. */
void ask_audit_target(struct ask *ask, struct str id);
/* For the record: how many profiles, or events, the answer holds; 1 if this is not called, and it is no error. */
void ask_audit_count(struct ask *ask, uint64_t n);
/* Notes the change before it is made, as it would be answered with 202; `done` is called with the request once the
 * record is durable, or is not, on the audit's thread or here. False when it has answered. */
struct audit_erasure;
bool ask_audit_first(struct ask *ask, const struct audit_erasure *e, audit_done *done);
/* The answer of a read tells nothing of anybody: there is no record of it. */
void ask_audit_nothing(struct ask *ask);
/* Before a change of a route with AUDIT_ERASURE, AUDIT_IDENTITY or AUDIT_EXPORT is begun: whether its record could be
 * written now. Answers 503 when not. From then on the API waits, when it is stopped, for the answer: it may come from a
 * thread of the log's. Any thread. */
bool ask_may_change(struct ask *ask);
/* After the server was stopped: waits until nobody answers a change any more. False: somebody still may. */
bool api_changes_end(struct api *a);

/* --- whose partition it is (api_owner.c) ---------------------------------------------------------------------- */

/* Reads the clock: on the thread that reads the state, right before it does. */
enum ownership_answer api_owns(const struct api *a, uint32_t partition);
/* Whether the partition may be shown here and now; answers when not. */
bool ask_may_show(struct ask *ask, uint32_t partition);
/* The answers when it may not: ours, but not now; not ours. */
void ask_not_yet(struct ask *ask, uint32_t partition);
void ask_not_owner(struct ask *ask, uint32_t partition);
/* Of a personal route: whether its partition may be shown here now. When not it is answered, or on its way elsewhere.
 */
bool ask_is_here(struct ask *ask);
/* Answers a request whose profile another instance has: from the cache, or by asking that one. Any thread; does not
 * wait. */
void ask_elsewhere(struct ask *ask);
/* Not from the cache, which holds the answers of now. */
bool ask_cacheable(const struct ask *ask);

/* --- on its way (api.c) --------------------------------------------------------------------------------------- */

/* Goes on with a request that waits for nothing more: where its profile is, on a look-up thread. Any thread. */
void ask_go_on(struct ask *ask);
/* The same on a look-up thread, at once. */
void ask_run(struct ask *ask);
/* As a job of the look-ups. */
void ask_run_job(struct lookup_job *job, bool in_time);

/* --- reading one's own writes (api_settle.c) ------------------------------------------------------------------ */

/* Goes on when the positions of the request are folded, and what they moved. Any thread; answers when that takes too
 * long. */
void settle_start(struct ask *ask);
/* What an instance asks another: whether positions are folded there, and what they moved to which partitions. */
bool prepare_settled(struct ask *ask);
void run_settled(struct ask *ask);

/* --- devices with links (api_linked.c) ------------------------------------------------------------------------ */

/* Makes the id of a personal route that of the user, if it is a linked device's. False when it is answered, or on its
 * way elsewhere. Look-up threads. */
bool ask_resolve(struct ask *ask);
/* Another instance said that the id is a linked device's: goes on with the user. False when the answer says no such
 * thing. */
bool ask_follow(struct ask *ask, const struct buf *body);
/* The user in such an answer to a question for `asked`, in the arena. */
bool linked_read(struct str asked, const struct buf *body, struct arena *a, struct str *user);
/* The id as it was asked for, to which cursors are bound. */
struct str ask_named(const struct ask *ask);
/* The request's path, with its id now. False when memory is out. */
bool ask_path(const struct ask *ask, struct buf *path);
/* Runs again from its beginning when nothing of its partition is held; within a bound. False when it has answered. */
bool ask_again(struct ask *ask);
bool id_is_device(struct str id);

/* --- other instances (api_peer.c) ----------------------------------------------------------------------------- */

void peers_init(struct api *a);
/* Asks the instance at `base` for `path` (raw, begins with '/') with the parameters of the request, the rest of its
 * time to wait, and `more` (encoded, as "name=value") if it is not NULL. False when it cannot be asked now: then `done`
 * is not called. Else it is called once, on the forwarder's thread; an answer that is not of an instance of ours has
 * status 0, with words in the body, like none at all. The body is the caller's then. Any thread. */
bool peer_ask(struct ask *ask, struct peer_call *c, const char *base, struct str path, const char *more,
              void (*done)(struct peer_call *c));
/* The same, by POST with the body of the request when `body` is there, which must live until `done`; `ms` is how long
 * the answer may take. */
bool peer_ask_for(struct ask *ask, struct peer_call *c, const char *base, struct str path, const char *more,
                  struct str body, int64_t ms, void (*done)(struct peer_call *c));
/* The same for the positions in `after`, of partitions that the instance has: whether they are folded there, and with
 * `clean` whether nothing erased is in their files ("true"); or, of partitions that it need not have ("lost"), whether
 * nothing erased is in its files. NULL: neither. */
bool peer_ask_settled(struct ask *ask, struct peer_call *c, const char *base, const struct buf *after,
                      const char *clean, void (*done)(struct peer_call *c));
/* The base URL of the instance that has a partition; false when none is known. */
bool peer_of(struct ask *ask, uint32_t partition, char *out, size_t size);
#define PEER_URL (LIMIT_URL_BYTES + 1)
#define EXPORTS_INSIDE "/v1/internal/exports" /* where no parameter of a client's is passed on */

/* --- parameters (api_parameters.c): false when they have answered --------------------------------------------- */

bool ask_read_waiting(struct ask *ask);
/* as_of, for the routes that take it. */
bool ask_read_as_of(struct ask *ask);
bool ask_read_time(struct ask *ask, const char *name, int64_t *out);
bool ask_read_limit(struct ask *ask, size_t standard, size_t most);
/* "0:812,3:1042": places in the arena of the request, each partition at most once. Absent or empty: none. */
bool ask_read_places(struct ask *ask, const char *name, const struct place_on_log **out, size_t *n);
/* One "partition:offset" from the front of `text`, and the comma behind it. Pure. */
bool place_next(struct str *text, uint32_t partitions, struct place_on_log *out);
/* include and verbose: what is shown of traits. */
bool ask_read_show(struct ask *ask);
/* The same from the body of a question for many; those of the query win. */
bool ask_read_show_of(struct ask *ask, const struct json *body);
/* Whether the answer shows what the copies in the cache do not hold. Pure. */
bool ask_shows_more(const struct ask *ask);
/* Whether text is user:… or anon:… within its bounds. Pure. */
bool id_valid(struct str id);
/* "kind:" and what stands behind it, in the arena; absent when memory is out. */
struct str id_join(const char *kind, struct str id, struct arena *a);
/* The partition of a valid id. Pure. */
uint32_t id_partition(struct str id, uint32_t partitions);

/* --- a profile's path and orders as of a time (api_view.c) ---------------------------------------------------- */

struct view {
    struct state_view state;
    size_t path_count;          /* entries up to the time */
    const struct order *orders; /* as of the time */
    size_t order_count;
    struct arena arena;
};

/* 0, STATE_NOT_FOUND (also when there was nothing of the profile yet), or negative errno. `what` as for state_view. */
int view_open(const struct api *a, uint32_t partition, struct str id, int64_t as_of, unsigned what, struct view *out,
              struct err *e);
/* Leaves out of an open one what came later than the time. Results as for view_open; close it in any case. */
int view_limit(const struct api *a, struct view *v, int64_t as_of, unsigned what);
void view_close(struct view *v);
/* The fold of what the view shows. */
int view_facts(const struct api *a, struct view *v, struct facts *out);

/* Writes path events one after the other, each with the page before it. */
struct path_writer {
    const struct path_entry *path;
    const struct path_note *notes;
    const struct fold_rules *rules;
    bool clear;                 /* joins what was sealed of the properties; false at first */
    bool whole;                 /* everything that is kept of an event; false at first */
    struct arena event, before; /* of the event being written and the page before it */
};
void path_writer_init(struct path_writer *w, const struct path_entry *path, const struct path_note *notes,
                      const struct fold_rules *rules);
void path_writer_deinit(struct path_writer *w);
/* 0 or negative errno (the bytes on disk are no event). */
int path_writer_event(struct path_writer *w, struct buf *b, size_t i);
/* Decodes an entry into the arena. */
int entry_decode(const struct path_entry *entry, struct arena *a, struct event *out);

/* --- routes --------------------------------------------------------------------------------------------------- */

bool prepare_live(struct ask *ask);
bool prepare_ready(struct ask *ask);
void run_metrics(struct ask *ask);
bool prepare_profile(struct ask *ask);
void run_profile(struct ask *ask);
/* Appends the profile's object. 0, STATE_NOT_FOUND (nothing is written), negative errno. *good: what its tags are by
 * and until when they are right. */
int add_profile(const struct ask *ask, uint32_t partition, struct str id, struct buf *b, int64_t *version,
                struct tags_good *good, struct err *e);
/* Appends the object of the person's tags, as of the moment that was asked for. 0 or negative errno. */
int add_tags(const struct ask *ask, uint32_t partition, struct str id, struct buf *b, struct tags_good *good);
/* Puts facts, traits and version of a view in the place of those in `out`. 0 or negative errno. */
int profile_of_view(const struct ask *ask, struct view *v, struct state_profile *out);
void run_profiles(struct ask *ask);
/* Frees what run_profiles keeps while it waits to run again. */
void many_drop(struct ask *ask);
bool prepare_path(struct ask *ask);
void run_path(struct ask *ask);
void run_orders(struct ask *ask);
/* Everything held about a person. */
bool prepare_data(struct ask *ask);
void run_data(struct ask *ask);
bool prepare_scene(struct ask *ask);
void run_scene(struct ask *ask);
/* The scene of the order among those of a profile of ours. 0, a negative errno, or more than 0: it is not there. */
int scene_write(struct ask *ask, uint32_t partition, struct str profile, struct buf *out, struct err *e);
/* PUT of traits: appends an identify call and answers when it is durable. */
bool prepare_traits(struct ask *ask);
bool prepare_erase(struct ask *ask);
bool prepare_erasable(struct ask *ask);
void run_erasable(struct ask *ask);
bool prepare_erasure(struct ask *ask);
bool prepare_tail(struct ask *ask);
void run_tail(struct ask *ask);
bool met_tail(const struct ask *ask);
uint32_t tail_partitions(const struct ask *ask);
/* One past the last record that may be shown: of events what is folded (below 0 when nothing is here), of refused ones
 * what is durable. */
int64_t tail_end(const struct ask *ask, uint32_t partition);
/* False when it is of somebody who was erased: nothing is written then. */
bool tail_write_record(const struct ask *ask, struct buf *b, const struct log_record *r, uint32_t partition,
                       struct arena *a);
/* The thread that reads tails. Stop it when nobody submits to the look-ups any more. */
int tails_start(struct api *a, struct err *e);
void tails_stop(struct api *a);
bool prepare_backups(struct ask *ask);
void run_identity(struct ask *ask);
bool prepare_unlink(struct ask *ask);
void run_preview(struct ask *ask);
void run_preview_step(struct ask *ask);

#endif
