/* Who is to be judged next: those who changed, those whose time has come, those who could not be judged, and a few of
 * the background. The judging thread. */
#include "profiler/audience_inside.h"

#define BATCH_MS 100     /* before what was found out is published */
#define BACKGROUND_MS 20 /* of one batch */
#define SKIP_MOST 100000 /* people passed over at once */

/* Whether what comes out may be published. */
bool crowd_ready(struct audiences *a, const struct crowd *p)
{
    return p->here && (!p->unread || !needs_topic(a)) && crowd_shows(a, p->number);
}

/* For anybody but one who has a turn, for whom there always is. */
static bool has_room(const struct audiences *a)
{
    return !batch_full(&a->batch) && clock_monotonic() < a->batch_until;
}

static int judge(struct audiences *a, struct crowd *p, const struct key_hash *hash, struct str id)
{
    int64_t since = clock_us();
    struct err e = {0};
    int rc = batch_judge(a, p, hash, id, &e);

    turn_took(a, p, hash, since);
    return rc;
}

/* One by number. Who cannot be judged now is tried again soon. */
static void judge_now(struct audiences *a, struct crowd *p, uint32_t number)
{
    struct key_hash hash = p->people.v[number].hash;

    if (judge(a, p, &hash, STR_NONE) != 0) {
        p->people.v[number].world = 0;
        crowd_again(p, number);
    }
}

/* A wake since which those change who are taken now, or whose time comes: what had changed up to it was taken before.
 * It never is less than it was. */
static unsigned long long changed_since(const struct audiences *a, const struct crowd *p)
{
    return p->taken_before < a->round ? p->taken_before : a->round - 1;
}

/* Of those who may have changed long ago, and whom nothing that is settled needs. */
static void judge_number(struct audiences *a, struct crowd *p, uint32_t number)
{
    unsigned long long settled = atomic_load(&a->settled), since = changed_since(a, p);

    if (!turn_wait(a, p, number, settled < since ? settled : since))
        judge_now(a, p, number);
}

static void judge_changed(struct audiences *a, struct crowd *p)
{
    while (p->changed_at < p->changed_n && has_room(a)) {
        struct state_changed *c = &p->changed[p->changed_at++];
        uint32_t number = people_find(&p->people, &c->hash);

        if (turn_wait(a, p, number, changed_since(a, p)) || judge(a, p, &c->hash, c->id) == 0)
            continue;
        if (number == PERSON_NONE) {
            pthread_rwlock_wrlock(&a->lock);
            number = people_add(&p->people, &c->hash, PERSON_NONE);
            pthread_rwlock_unlock(&a->lock);
        }
        p->people.v[number].world = 0;
        crowd_again(p, number);
    }
}

/* Each stays in the heap until its verdict is applied: those in this batch are passed over by taking them out. */
static void judge_due(struct audiences *a, struct crowd *p, int64_t now)
{
    uint32_t number;

    while (has_room(a) && (number = people_first_due(&p->people)) != PERSON_NONE && p->people.v[number].due <= now) {
        people_set_due(&p->people, number, TIME_NONE);
        if (!turn_wait(a, p, number, changed_since(a, p)))
            judge_now(a, p, number);
    }
}

/* Who waits for a turn meanwhile stays among them until then. */
static void judge_again(struct audiences *a, struct crowd *p)
{
    uint32_t n = p->again_n;

    if (n == 0 || clock_monotonic() < p->again_at)
        return;
    while (n > 0 && has_room(a)) {
        uint32_t number = p->again[--n];

        if (people_has(&p->people, number) && p->people.v[number].waits)
            continue;
        p->again[n] = p->again[--p->again_n];
        if (n > p->again_n)
            n = p->again_n;
        if (people_has(&p->people, number))
            judge_number(a, p, number);
    }
    p->again_at = clock_monotonic() + AGAIN_MS;
}

static void judge_gone(struct audiences *a, struct crowd *p)
{
    while (p->gone_at < p->gone_n && has_room(a)) {
        uint32_t number = p->gone[p->gone_at++];

        if (!people_has(&p->people, number))
            continue;
        p->people.v[number].missed = true; /* no note comes */
        judge_number(a, p, number);
    }
}

static void judge_background(struct audiences *a, struct crowd *p, int64_t until)
{
    for (unsigned passed = 0; p->lap_left > 0 && passed < SKIP_MOST && has_room(a); passed++) {
        if (passed % 8 == 0 && clock_monotonic() >= until)
            return;
        if (p->cursor >= p->people.n)
            p->cursor = 0;
        p->lap_left--;
        uint32_t number = p->cursor++;
        if (people_has(&p->people, number) && p->people.v[number].world != a->world->id)
            judge_number(a, p, number);
    }
}

/* More may have changed since what was judged last was taken. */
static bool is_to_be_taken(const struct audiences *a, const struct crowd *p)
{
    return p->taken < a->round && clock_monotonic() >= p->retry_at;
}

/* Before that nobody knows what those were called whose profiles are gone, and they would leave without a word. */
bool crowd_compared(const struct crowd *p)
{
    return p->known && !p->compare;
}

/* One of those who take long. The others have as much time before the next one. After what had changed was taken: of
 * one who was judged before no later change would be seen in this batch. */
static void judge_turn(struct audiences *a)
{
    struct crowd *p;
    uint32_t number;
    int64_t since = clock_us();

    if (!turn_next(a, &p, &number))
        return;
    judge_now(a, p, number);
    a->turn_at = 2 * clock_us() - since;
}

bool crowd_waits(struct audiences *a, const struct crowd *p, int64_t now)
{
    uint32_t due = people_first_due(&p->people);

    if (!crowd_ready(a, p))
        return false;
    return p->changed_at < p->changed_n || is_to_be_taken(a, p) ||
           (crowd_compared(p) &&
            (p->gone_at < p->gone_n || p->lap_left > 0 || (due != PERSON_NONE && p->people.v[due].due <= now)));
}

/* Fills a batch. */
void gather_people(struct audiences *a)
{
    int64_t now = wall(a), until = clock_monotonic() + BACKGROUND_MS;

    a->batch_until = clock_monotonic() + BATCH_MS;
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (crowd_ready(a, &a->parts[i]) && crowd_take(a, &a->parts[i]))
            judge_changed(a, &a->parts[i]);
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (crowd_ready(a, &a->parts[i]) && crowd_compared(&a->parts[i]))
            judge_due(a, &a->parts[i], now);
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (crowd_ready(a, &a->parts[i]) && crowd_compared(&a->parts[i])) {
            judge_again(a, &a->parts[i]);
            judge_gone(a, &a->parts[i]);
            judge_background(a, &a->parts[i], until);
        }
    judge_turn(a);
}
