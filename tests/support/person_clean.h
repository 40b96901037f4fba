/* What the eraser leaves of the logs of a play. */
#ifndef WAYMARK_TESTS_PERSON_CLEAN_H
#define WAYMARK_TESTS_PERSON_CLEAN_H

#include "profiler/eraser_judge.h"
#include "tests/support/person_play.h"

static inline int play_ask_erased(void *arg, struct str profile, const struct event_key *key, bool *out, struct err *e)
{
    const struct play *p = arg;

    return state_is_erased(p->state, profile, key, out, e);
}

static inline int play_ask_lives(void *arg, struct str profile, bool *out, struct err *e)
{
    const struct play *p = arg;
    struct state_profile got;
    struct arena a;
    int rc;

    arena_init(&a, 64 * MIB);
    rc = state_profile(p->state, play_partition(p, profile), profile, &a, &got, e);
    *out = rc == 0 || rc == STATE_LINKED;
    if (rc == 0) {
        facts_deinit(&got.facts);
        traits_deinit(&got.traits);
    }
    arena_deinit(&a);
    return rc < 0 ? rc : 0;
}

static inline bool play_ask_forgotten(void *arg, struct str profile)
{
    (void)arg;
    (void)profile;
    return true;
}

/* What the eraser leaves of the logs when it has come to so many records. */
static inline void play_clean(struct play *from, struct play *to, size_t judged)
{
    const struct judge_asks asks = {play_ask_erased, play_ask_lives, play_ask_forgotten, from};
    struct judge judge;
    struct buf b;

    judge_init(&judge, &asks);
    buf_init(&b, LIMIT_RECORD_BYTES);
    for (uint32_t i = 0; i < from->partitions; i++)
        for (size_t k = 0; k < from->logs[i].n; k++) {
            const struct log_record *r = &from->logs[i].v[k];
            int rc;

            buf_reset(&b);
            rc = judged > 0 ? judge_record(&judge, r, &b) : LOG_KEEP;
            judged -= judged > 0;
            assert_true(rc >= 0);
            if (rc == LOG_KEEP)
                play_append_at(to, i, r->kind, r->key, r->value);
            else if (rc == LOG_BLANK)
                play_append_at(to, i, LOG_KIND_ERASED, STR_LIT(""), STR_LIT(""));
            else
                play_append_at(to, i, r->kind, STR_LIT(""), buf_str(&b));
        }
    buf_deinit(&b);
    judge_deinit(&judge);
}

#endif
