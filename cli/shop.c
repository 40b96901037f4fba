/* The seeded shop of `waymark simulate`. People come in visits of some steps; what a visit leaves in the cart may
 * become an order, which the page states at once and the back end states in several order logs later. Clocks of some
 * devices are wrong. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/shop.h"
#include "common/clock.h"

#define PENDING 1024 /* order logs yet to come */
#define CATEGORIES 8
#define PRODUCTS 400

struct person {
    unsigned visits;  /* each visit of a person without an account may be a new device */
    unsigned steps;   /* left in this visit */
    unsigned cart;    /* products in it */
    bool known;       /* logged in during this visit */
    int64_t time;     /* of their last event */
    int32_t skew_min; /* how wrong their device's clock is */
};

struct order_log {
    char order_id[64];
    unsigned person;
    bool known;
    unsigned device;
    const char *status;
    int64_t time;
    uint64_t cents;
};

struct shop {
    uint64_t random, seed;
    unsigned name, people;
    uint64_t events, orders;
    struct person *person;
    struct order_log pending[PENDING];
    size_t pending_n;
};

/* splitmix64: public domain constants of its author's description. */
uint64_t shop_random(struct shop *s, uint64_t n)
{
    uint64_t z = (s->random += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

struct shop *shop_new(uint64_t seed, unsigned name, unsigned people, int64_t start)
{
    struct shop *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->random = seed * 1000003 + name;
    s->seed = seed;
    s->name = name;
    s->people = people ? people : 1;
    s->person = calloc(s->people, sizeof *s->person);
    if (!s->person) {
        free(s);
        return NULL;
    }
    for (unsigned i = 0; i < s->people; i++) {
        s->person[i].time = start + (int64_t)shop_random(s, TIME_HOUR);
        s->person[i].skew_min = shop_random(s, 10) == 0 ? (int32_t)shop_random(s, 600) - 300 : 0;
    }
    return s;
}

void shop_free(struct shop *s)
{
    if (!s)
        return;
    free(s->person);
    free(s);
}

static void add_time(struct buf *b, const char *key, int64_t ms)
{
    buf_addf(b, ",\"%s\":\"", key);
    time_write(b, ms);
    buf_add_char(b, '"');
}

static void add_ids(struct shop *s, struct buf *b, struct shop_event *out, unsigned p, bool known, unsigned device)
{
    if (known) {
        snprintf(out->profile, sizeof out->profile, "user:u%u-%u", s->name, p);
        buf_addf(b, ",\"userId\":\"u%u-%u\"", s->name, p);
    } else {
        snprintf(out->profile, sizeof out->profile, "anon:d%u-%u-%u", s->name, p, device);
    }
    /* A logged-in page states both ids. */
    buf_addf(b, ",\"anonymousId\":\"d%u-%u-%u\"", s->name, p, device);
    snprintf(out->message_id, sizeof out->message_id, "m%" PRIu64 "-%u-%" PRIu64, s->seed, s->name, s->events++);
    buf_addf(b, ",\"messageId\":\"%s\"", out->message_id);
}

static void add_product(struct shop *s, struct buf *b)
{
    static const char *const categories[CATEGORIES] = {"dress", "shoes",       "bags", "hats",
                                                       "大衣",  "kids & baby", "home", "sale"};
    static const char *const colors[] = {"red", "blue", "ivory", "black"};
    unsigned p = (unsigned)(shop_random(s, PRODUCTS) * shop_random(s, PRODUCTS) / PRODUCTS);

    buf_addf(
        b,
        "\"product_id\":\"p%u\",\"name\":\"Product %u\",\"category\":\"%s\",\"brand\":\"brand %u\",\"color\":\"%s\","
        "\"size\":\"%u\",\"price\":%u.%02u,\"quantity\":%u",
        p, p, categories[p % CATEGORIES], p % 17, colors[shop_random(s, 4)], 36 + p % 8, 5 + p % 90, p % 100,
        1 + (unsigned)shop_random(s, 3));
}

static void push_log(struct shop *s, const struct order_log *log)
{
    if (s->pending_n < PENDING)
        s->pending[s->pending_n++] = *log;
}

/* What the back end will say of an order, in the days after it. */
static void plan_logs(struct shop *s, const char *order_id, unsigned p, int64_t time, uint64_t cents)
{
    static const char *const good[] = {"created", "paid", "shipped", "delivered"};
    struct order_log log = {.person = p, .known = s->person[p].known, .device = s->person[p].visits, .cents = cents};
    uint64_t end = shop_random(s, 20);
    size_t steps = end < 2 ? 1 : 1 + shop_random(s, 4);

    snprintf(log.order_id, sizeof log.order_id, "%s", order_id);
    log.time = time + 1500;
    for (size_t i = 0; i < steps; i++) {
        log.status = good[i];
        push_log(s, &log);
        log.time += TIME_MINUTE + (int64_t)shop_random(s, TIME_HOUR);
    }
    if (end < 2) {
        log.status = end ? "cancelled" : "refunded";
        push_log(s, &log);
    }
}

static void next_order_log(struct shop *s, struct buf *b, struct shop_event *out)
{
    size_t i = shop_random(s, s->pending_n < 8 ? s->pending_n : 8); /* roughly in order */
    struct order_log log = s->pending[i];

    memmove(&s->pending[i], &s->pending[i + 1], (s->pending_n - i - 1) * sizeof *s->pending);
    s->pending_n--;
    out->kind = SHOP_ORDER_LOG;
    out->type = "order";
    buf_addf(b, "{\"orderId\":\"%s\",\"status\":\"%s\",\"currency\":\"GBP\",\"total\":%" PRIu64 ".%02" PRIu64,
             log.order_id, log.status, log.cents / 100, log.cents % 100);
    if (!strcmp(log.status, "refunded"))
        buf_addf(b, ",\"refund\":{\"id\":\"r1\",\"amount\":%" PRIu64 ".5}", log.cents / 200);
    add_ids(s, b, out, log.person, log.known, log.device);
    add_time(b, "timestamp", log.time);
    buf_add_char(b, '}');
}

static void add_order_completed(struct shop *s, struct buf *b, unsigned p)
{
    struct person *x = &s->person[p];
    char order_id[64];
    uint64_t cents = 500 + shop_random(s, 20000);

    snprintf(order_id, sizeof order_id, "o%" PRIu64 "-%u-%" PRIu64, s->seed, s->name, s->orders++);
    buf_addf(
        b,
        ",\"event\":\"Order Completed\",\"properties\":{\"order_id\":\"%s\",\"currency\":\"GBP\",\"total\":%" PRIu64
        ".%02" PRIu64 ",\"products\":[",
        order_id, cents / 100, cents % 100);
    for (unsigned i = 0; i < x->cart; i++) {
        buf_add_text(b, i ? ",{" : "{");
        add_product(s, b);
        buf_add_char(b, '}');
    }
    buf_add_text(b, "]}");
    x->cart = 0;
    plan_logs(s, order_id, p, x->time, cents);
}

static void add_page(struct shop *s, struct buf *b, bool landing)
{
    buf_addf(b, ",\"properties\":{\"url\":\"https://shop.example/%s%u%s\",\"title\":\"Shop\"",
             shop_random(s, 2) ? "p/" : "c/", (unsigned)shop_random(s, 60),
             landing && shop_random(s, 3) == 0 ? "?utm_source=mail&utm_campaign=spring" : "");
    if (landing && shop_random(s, 3) == 0)
        buf_add_text(b, ",\"referrer\":\"https://search.example/\"");
    buf_add_char(b, '}');
}

/* One step of a visit: what happens, and the type of the event. */
static void add_step(struct shop *s, struct buf *b, struct shop_event *out, unsigned p, bool landing)
{
    struct person *x = &s->person[p];
    uint64_t r = shop_random(s, 100);

    if (landing || r < 40) {
        out->type = "page";
        add_page(s, b, landing);
    } else if (r < 45 && x->known) {
        out->type = "identify";
        buf_add_text(b, ",\"traits\":{\"memberLevel\":\"gold\"}");
    } else if (r > 92 && x->cart) {
        out->type = "track";
        add_order_completed(s, b, p);
    } else {
        bool added = r > 75;
        out->type = "track";
        buf_addf(b, ",\"event\":\"%s\",\"properties\":{", added ? "Product Added" : "Product Viewed");
        add_product(s, b);
        buf_add_char(b, '}');
        x->cart += added && x->cart < 5;
    }
}

static void begin_visit(struct shop *s, struct person *x)
{
    x->steps = 1 + (unsigned)shop_random(s, 12);
    x->visits += shop_random(s, 3) == 0;
    x->known = shop_random(s, 3) == 0;
    x->time += (int64_t)shop_random(s, 3 * TIME_HOUR);
}

void shop_next(struct shop *s, int64_t now, struct buf *b, struct shop_event *out)
{
    if (s->pending_n && (s->pending_n > PENDING / 2 || shop_random(s, 12) == 0)) {
        next_order_log(s, b, out);
        return;
    }
    unsigned p = (unsigned)(shop_random(s, s->people) * shop_random(s, s->people) / s->people); /* some come often */
    struct person *x = &s->person[p];
    bool landing = x->steps == 0;

    if (landing)
        begin_visit(s, x);
    x->steps--;
    x->known |= shop_random(s, 40) == 0; /* logs in */
    x->time += 900 + (int64_t)shop_random(s, 90 * TIME_SECOND);
    out->kind = SHOP_BEACON;
    buf_add_text(b, "{\"type\":\"");
    size_t type_at = b->n;
    buf_add_text(b, "########\"");
    add_step(s, b, out, p, landing);
    add_ids(s, b, out, p, x->known, x->visits);
    /* A wrong clock is wrong by as much when it sends: the collector takes the difference of the two. */
    int64_t skew = x->skew_min * TIME_MINUTE;
    add_time(b, "timestamp", x->time + skew);
    if (skew)
        add_time(b, "sentAt", now + skew);
    buf_add_char(b, '}');
    if (b->failed)
        return;
    size_t n = strlen(out->type); /* the type is known only now: it goes over the marks */
    memcpy(b->p + type_at, out->type, n);
    memmove(b->p + type_at + n, b->p + type_at + 8, b->n - type_at - 8);
    b->n -= 8 - n;
}
