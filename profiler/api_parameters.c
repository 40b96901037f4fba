/* Reading and checking what a request names: ids, positions, times, limits. Pool threads. */
#include "common/limits.h"
#include "common/num.h"
#include "profiler/api_ask.h"

#define WAIT_STANDARD_MS 1000

static const struct str user_prefix = {"user:", 5}, anon_prefix = {"anon:", 5};

bool id_valid(struct str id)
{
    if (!str_starts(id, user_prefix) && !str_starts(id, anon_prefix))
        return false;
    return id.n > user_prefix.n && id.n - user_prefix.n <= LIMIT_ID_BYTES;
}

struct str id_join(const char *kind, struct str id, struct arena *a)
{
    size_t n = strlen(kind);
    char *text = arena_alloc(a, n + id.n);

    if (!text)
        return STR_NONE;
    memcpy(text, kind, n);
    if (id.n > 0)
        memcpy(text + n, id.p, id.n);
    return (struct str){text, n + id.n};
}

uint32_t id_partition(struct str id, uint32_t partitions)
{
    return event_log_partition((struct str){id.p + user_prefix.n, id.n - user_prefix.n}, partitions);
}

/* --- positions ------------------------------------------------------------------------------------------------ */

bool place_next(struct str *text, uint32_t partitions, struct place_on_log *out)
{
    const char *comma = memchr(text->p, ',', text->n);
    struct str part = {text->p, comma ? (size_t)(comma - text->p) : text->n};
    const char *colon = memchr(part.p, ':', part.n);
    uint64_t partition, offset;

    if (!colon || num_u64((struct str){part.p, (size_t)(colon - part.p)}, &partition) != NUM_OK)
        return false;
    if (num_u64((struct str){colon + 1, part.n - (size_t)(colon + 1 - part.p)}, &offset) != NUM_OK)
        return false;
    if (partition >= partitions || offset >= INT64_MAX)
        return false;
    if (comma && comma + 1 == text->p + text->n)
        return false;
    *out = (struct place_on_log){(uint32_t)partition, (int64_t)offset};
    text->n -= comma ? part.n + 1 : part.n;
    text->p += comma ? part.n + 1 : part.n;
    return true;
}

/* Of two places in one partition the later is meant. */
static size_t add_place(struct place_on_log *places, size_t n, struct place_on_log one)
{
    for (size_t i = 0; i < n; i++) {
        if (places[i].partition != one.partition)
            continue;
        if (places[i].offset < one.offset)
            places[i].offset = one.offset;
        return n;
    }
    places[n] = one;
    return n + 1;
}

bool ask_read_places(struct ask *ask, const char *name, const struct place_on_log **out, size_t *n)
{
    struct str text = http_query(ask->request, name);
    uint32_t partitions = ask->topic == LOG_BAD ? 1 : ask->api->o.conf->partitions;
    struct place_on_log *places, one;

    *n = 0;
    *out = NULL;
    if (text.n == 0)
        return true;
    places = arena_alloc(http_arena(ask->request), partitions * sizeof *places);
    if (!places) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    while (text.n > 0) {
        if (!place_next(&text, partitions, &one)) {
            ask_error(ask, 400, "parameter_invalid",
                      "%s is no position: it looks like 0:812,3:1042, with partitions below %u", name, partitions);
            return false;
        }
        *n = add_place(places, *n, one);
    }
    *out = places;
    return true;
}

bool ask_read_waiting(struct ask *ask)
{
    struct str wait = http_query(ask->request, "wait");

    ask->wait_ms = WAIT_STANDARD_MS;
    if (str_has(wait) &&
        (time_parse_duration(wait, &ask->wait_ms) != 0 || ask->wait_ms < 0 || ask->wait_ms > LIMIT_WAIT_MS)) {
        ask_error(ask, 400, "parameter_invalid", "wait is a duration such as 500ms or 2s, at most %ds",
                  LIMIT_WAIT_MS / 1000);
        return false;
    }
    if (ask->route->met) /* tail gives `after` a meaning of its own */
        return true;
    return ask_read_places(ask, "after", &ask->after, &ask->after_count);
}

/* --- times and limits ----------------------------------------------------------------------------------------- */

bool ask_read_time(struct ask *ask, const char *name, int64_t *out)
{
    struct str text = http_query(ask->request, name);

    *out = TIME_NONE;
    if (text.n == 0 || time_parse(text, out) == 0)
        return true;
    ask_error(ask, 400, "parameter_invalid", "%s is no time: it looks like 2026-01-31T23:59:59Z", name);
    return false;
}

bool ask_read_as_of(struct ask *ask)
{
    return ask_read_time(ask, "as_of", &ask->as_of);
}

bool ask_read_limit(struct ask *ask, size_t standard, size_t most)
{
    struct str text = http_query(ask->request, "limit");
    uint64_t n = standard;

    if (str_has(text) && (num_u64(text, &n) != NUM_OK || n < 1 || n > most)) {
        ask_error(ask, 400, "parameter_invalid", "limit is a number from 1 to %zu", most);
        return false;
    }
    ask->limit = (size_t)n;
    return true;
}
