/* Rules, keys and counters of privacy. Made on the main thread, used on the pool threads. */
#include "collector/guard.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/user_hash.h"
#include "common/limits.h"
#include "common/seal.h"

struct guard {
    const struct conf_collector *conf;
    struct privacy rules;
    struct str *cut;
    struct seal_keys *keys;
    struct user_hash *user_hash;
    struct stats_counter *sealed, *cards, *users[IGNORED_REASONS], *devices, *consents;
};

static void add_counters(struct guard *g, struct stats *s)
{
    static const char *const reasons[IGNORED_REASONS] = {
        [IGNORED_BLOCKED] = "reason=\"blocked\"",
        [IGNORED_HASH_MISSING] = "reason=\"hash_missing\"",
        [IGNORED_HASH_WRONG] = "reason=\"hash_wrong\"",
    };

    g->sealed = stats_counter(s, "waymark_events_sealed_total", NULL, "Events with personal values that were sealed.");
    g->cards = stats_counter(s, "waymark_card_numbers_refused_total", NULL,
                             "Full numbers of cards that were dropped from events.");
    for (int i = 0; i < IGNORED_REASONS; i++)
        g->users[i] = stats_counter(s, "waymark_user_ids_ignored_total", reasons[i],
                                    "User ids of events that were taken for absent, by reason.");
    g->devices = stats_counter(s, "waymark_device_ids_ignored_total", "reason=\"blocked\"",
                               "Device ids of events that were taken for absent, by reason.");
    g->consents = stats_counter(s, "waymark_consents_ignored_total", NULL,
                                "Events with a statement of consent that could not be read as a whole.");
}

static int copy_parameters(struct guard *g)
{
    size_t n = g->conf->cut_parameter_count;

    g->cut = calloc(n ? n : 1, sizeof *g->cut);
    for (size_t i = 0; g->cut && i < n; i++)
        g->cut[i] = str_of(g->conf->cut_parameters[i]);
    return g->cut ? 0 : -ENOMEM;
}

static int open_keys(struct guard *g, const struct conf *conf, struct err *e)
{
    bool made;
    int r = conf->kafka ? 0 : seal_keys_init(conf->keys, &made, e);

    return r == 0 ? seal_keys_open(conf->keys, SEAL_COLLECTOR, &g->keys, e) : r;
}

static int open_all(struct guard *g, const struct conf *conf, struct err *e)
{
    int r = copy_parameters(g);

    if (r == 0)
        r = open_keys(g, conf, e);
    if (r == 0 && g->conf->require_user_hash)
        r = user_hash_open(g->conf->user_hash_secret_file, &g->user_hash, e);
    g->rules = (struct privacy){.vocabulary = conf->vocabulary,
                                .ip = (enum conf_ip)g->conf->ip,
                                .cut = g->cut,
                                .cut_count = g->conf->cut_parameter_count,
                                .user_hash = g->user_hash};
    return r;
}

int guard_open(const struct conf *conf, struct stats *stats, struct guard **out, struct err *e)
{
    struct guard *g = calloc(1, sizeof *g);

    if (!g)
        return -ENOMEM;
    g->conf = &conf->collector;
    int r = open_all(g, conf, e);
    if (r != 0) {
        guard_free(g);
        return r;
    }
    add_counters(g, stats);
    *out = g;
    return 0;
}

void guard_free(struct guard *g)
{
    if (!g)
        return;
    user_hash_free(g->user_hash);
    seal_keys_free(g->keys);
    free(g->cut);
    free(g);
}

void guard_input(const struct guard *g, struct http_request *r, struct arena *a, struct decode_input *in)
{
    bool beacon = in->trust == TRUST_BEACON;

    in->privacy = &g->rules;
    if (str_has(in->ip))
        in->ip = privacy_address(g->rules.ip, in->ip, a);
    in->refuse_analytics = beacon && g->conf->respect_dnt && str_is(str_trim(http_header(r, "DNT")), "1");
    in->refuse_marketing_and_sale = beacon && g->conf->respect_gpc && str_is(str_trim(http_header(r, "Sec-GPC")), "1");
}

static void count(const struct guard *g, const struct decode_notes *notes)
{
    if (notes->cards)
        stats_add(g->cards, notes->cards);
    for (int i = 0; i < IGNORED_REASONS; i++)
        if (notes->users_ignored[i])
            stats_add(g->users[i], notes->users_ignored[i]);
    if (notes->devices_blocked)
        stats_add(g->devices, notes->devices_blocked);
    if (notes->consents_ignored)
        stats_add(g->consents, notes->consents_ignored);
}

/* The sealed bytes, in the arena. */
static int seal(struct guard *g, struct str plain, struct arena *a, struct str *out)
{
    struct buf b;

    buf_init(&b, plain.n + SEAL_OVERHEAD);
    *out = seal_for_profilers(g->keys, plain, &b) ? arena_dup(a, buf_str(&b)) : STR_NONE;
    buf_deinit(&b);
    return str_has(*out) ? 0 : -ENOMEM;
}

int guard_event(struct guard *g, const struct decode_notes *notes, struct arena *a, struct event *e)
{
    count(g, notes);
    if (!str_has(notes->personal))
        return 0;
    stats_add(g->sealed, 1);
    return seal(g, notes->personal, a, &e->sealed);
}

int guard_bad(struct guard *g, const struct decode_notes *notes, struct arena *a, struct bad_event *bad)
{
    count(g, notes);
    bad->full_size = bad->bytes.n;
    if (bad->bytes.n > LIMIT_EVENT_BYTES)
        bad->bytes.n = LIMIT_EVENT_BYTES;
    if (bad->bytes.n == 0)
        return 0;
    bad->sealed = true;
    return seal(g, bad->bytes, a, &bad->bytes);
}
