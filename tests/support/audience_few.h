/* Audiences over a few users of one partition, who look at pages. One play at a time. */
#ifndef WAYMARK_TESTS_AUDIENCE_FEW_H
#define WAYMARK_TESTS_AUDIENCE_FEW_H

#include "tests/support/audience_play.h"

enum { USERS = 4, MESSAGES = 64 };

static const struct traits_rules no_traits = {0};
static char messages[MESSAGES][NAME];
static unsigned message_count;

static inline void begin_play(struct audience_play *t)
{
    rnd_state = 7;
    message_count = 0;
    *t = (struct audience_play){.p = {.rules = {.traits = &no_traits,
                                                .session_gap_ms = 30 * TIME_MINUTE,
                                                .currency = "GBP",
                                                .touch_window_ms = TIME_DAY,
                                                .max_users_per_device = 100,
                                                .max_devices_per_user = 100,
                                                .max_device_events = 1000}}};
    for (unsigned i = 0; i < RULES; i++)
        snprintf(t->defined[i].name, NAME, "a%u", i);
    for (unsigned i = 0; i < USERS; i++)
        snprintf(t->people[t->person_count++], NAME, "user:u%u", i);
    audience_play_start(t, 1);
}

static inline void view(struct audience_play *t, unsigned user, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct event e = event_at(NULL, NULL, NULL, atomic_load(&t->now) - TIME_HOUR);

        assert_true(message_count < MESSAGES);
        snprintf(messages[message_count], NAME, "m%u", message_count);
        e.message_id = str_of(messages[message_count++]);
        e.received = atomic_load(&t->now) + message_count;
        e.trust = TRUST_SERVER;
        e.user_id = (struct str){t->people[user] + 5, 2};
        e.type = EVENT_PAGE;
        play_event(&t->p, &e);
    }
}

static inline void fold(struct audience_play *t)
{
    while (play_has_unread(&t->p, 0))
        play_fold(&t->p, 0, 100);
    play_commit(&t->p, 0);
}

static inline void fold_and_judge(struct audience_play *t)
{
    fold(t);
    audience_settle(t);
}

#endif
