/* The path of a profile: its events in the order of events, cut into sessions per device, with dwell time and where
 * each page was come from. INTERFACE's "Sessions" and "Where from" in code. Pure. */
#ifndef WAYMARK_PATH_H
#define WAYMARK_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "profiler/rules.h"
#include "proto/event.h"

/* What the path needs to know of an event without decoding it; kept beside its bytes on disk. */
enum entry_flag {
    ENTRY_SESSION = 1,  /* makes sessions */
    ENTRY_PAGE = 2,     /* page or screen */
    ENTRY_TOUCH = 4,    /* would be a touch if it starts a session: campaign, click id or external referrer */
    ENTRY_CAMPAIGN = 8, /* has a campaign name */
    ENTRY_ORDER = 16,   /* states an order */
    ENTRY_MARK = 32     /* is a mark: in no path that is shown, no fact counts it */
};

/* Flags of an event. */
unsigned entry_flags(const struct event *e, const struct fold_rules *rules);

struct path_entry {
    struct event_key key;
    unsigned flags;
    uint32_t device;  /* the caller's number of the device (anonymous id, else user id) within this profile */
    struct str bytes; /* the packed event */
    void *owner;      /* the caller's */
};

struct path_note {
    uint32_t session;      /* 1…; 0: none */
    bool starts;           /* is the first event of its session */
    int64_t session_start; /* TIME_NONE without a session */
    int64_t dwell_ms;      /* -1: absent */
    int64_t page_before;   /* index of the page or screen before it in its session, -1: none */
};

/* qsort's comparison of path entries. */
int path_entry_cmp(const void *a, const void *b);

/* Notes for `n` entries that stand in the order of events. `out` has room for n. 0 or -ENOMEM. Linear in n. Returns the
 * number of sessions in *sessions. */
int path_annotate(const struct path_entry *v, size_t n, int64_t session_gap_ms, struct path_note *out,
                  uint32_t *sessions);

/* What one session event more does to the number of sessions of its device, given the times of the session events next
 * to it there (TIME_NONE when there is none): +1, 0 or -1. */
int path_session_change(int64_t before, int64_t time, int64_t after, int64_t session_gap_ms);

/* Whether a referrer is another site than the page's own and no payment host. */
bool path_external_referrer(const struct event *e, const struct fold_rules *rules);

#endif
