/* What one event costs in the facts, and packing and folding anew: nanoseconds an event of a typical mix (pages with a
 * module, product views with a category, brand, colour and product). */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/buf.h"
#include "common/limits.h"
#include "profiler/facts.h"

#define PEOPLE 2000
#define EVENTS 50 /* of each */
#define ROUNDS 5

static const struct fold_rules rules = {
    .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static char names[64][16];
static struct item items[EVENTS];
static struct event events[EVENTS];
static struct path_entry path[EVENTS];

static struct str name(size_t i)
{
    return str_of(names[i % 64]);
}

static void make_events(void)
{
    for (size_t i = 0; i < 64; i++)
        snprintf(names[i], sizeof(names[i]), "name %zu", i);
    for (size_t i = 0; i < EVENTS; i++) {
        struct event *e = &events[i];

        *e = (struct event){.type = i % 2 ? EVENT_TRACK : EVENT_PAGE, .trust = TRUST_BEACON};
        e->anonymous_id = STR_LIT("device");
        e->time = INT64_C(1782948600000) + (int64_t)i * TIME_MINUTE * (i % 7 ? 1 : 2);
        e->uid.b[0] = (unsigned char)i;
        if (e->type == EVENT_PAGE) {
            e->module = name(i % 5);
        } else {
            e->name = STR_LIT("Product Viewed");
            items[i] = (struct item){.category = name(i % 6), .brand = name(i % 9), .color = name(i % 4)};
            items[i].product_id = name(i);
            e->items = &items[i];
            e->item_count = 1;
        }
    }
}

static int by_time(const void *a, const void *b)
{
    const struct event *x = a, *y = b;

    return x->time < y->time ? -1 : x->time > y->time;
}

static int decode(void *arg, const struct path_entry *entry, struct event *out)
{
    (void)arg;
    *out = *(const struct event *)entry->owner;
    return 0;
}

static double step_all(struct facts *people)
{
    double from = now_ns();

    for (size_t i = 0; i < EVENTS; i++) { /* person by person, as traffic comes: the cache is cold */
        for (size_t p = 0; p < PEOPLE; p++) {
            if (facts_add_event(&people[p], &events[i], path[i].flags, &rules) != FACTS_OK)
                abort();
        }
    }
    return now_ns() - from;
}

static double pack_all(const struct facts *people, struct buf *b)
{
    double from = now_ns();

    for (size_t p = 0; p < PEOPLE; p++) {
        buf_reset(b);
        if (!facts_pack(&people[p], b))
            abort();
    }
    return now_ns() - from;
}

static double unpack_all(const struct buf *b)
{
    double from = now_ns();

    for (size_t p = 0; p < PEOPLE; p++) {
        struct facts f;

        if (facts_unpack(buf_str(b), &f) != 0)
            abort();
        facts_deinit(&f);
    }
    return now_ns() - from;
}

static double fold_all(void)
{
    struct fold_input in = {.path = path, .path_count = EVENTS, .decode = decode};
    double from = now_ns();

    for (size_t p = 0; p < PEOPLE; p++) {
        struct facts f;

        if (facts_fold(&in, &rules, &f) != 0)
            abort();
        facts_deinit(&f);
    }
    return now_ns() - from;
}

int main(void)
{
    struct facts *people = calloc(PEOPLE, sizeof(*people));
    double steps = 0, packs = 0, unpacks = 0, folds = 0;
    size_t bytes = 0, memory = 0;
    struct buf b;

    if (!people)
        return 1;
    buf_init(&b, MIB);
    make_events();
    qsort(events, EVENTS, sizeof(*events), by_time);
    for (size_t i = 0; i < EVENTS; i++)
        path[i] = (struct path_entry){event_key(&events[i]), entry_flags(&events[i], &rules), 0, STR_NONE, &events[i]};
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t p = 0; p < PEOPLE; p++)
            facts_init(&people[p]);
        steps += step_all(people);
        packs += pack_all(people, &b);
        unpacks += unpack_all(&b);
        folds += fold_all();
        bytes = b.n;
        memory = facts_bytes(&people[0]);
        for (size_t p = 0; p < PEOPLE; p++)
            facts_deinit(&people[p]);
    }
    printf("facts_add_event        %7.1f ns an event\n", steps / ROUNDS / PEOPLE / EVENTS);
    printf("facts_fold             %7.1f ns an event (paths of %d)\n", folds / ROUNDS / PEOPLE / EVENTS, EVENTS);
    printf("facts_pack             %7.1f ns a profile (%zu bytes, %zu in memory)\n", packs / ROUNDS / PEOPLE, bytes,
           memory);
    printf("facts_unpack           %7.1f ns a profile\n", unpacks / ROUNDS / PEOPLE);
    buf_deinit(&b);
    free(people);
    return 0;
}
