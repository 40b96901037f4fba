/* Memory of the pool threads. Each worker is touched by its own thread only. */
#include "collector/worker.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/limits.h"

struct workers {
    pthread_key_t key;
};

static void worker_free(void *arg)
{
    struct worker *w = arg;

    json_parser_free(w->parser);
    arena_deinit(&w->arena);
    buf_deinit(&w->inflated);
    buf_deinit(&w->text);
    draft_deinit(&w->draft);
    free(w);
}

static struct worker *worker_new(void)
{
    struct worker *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    arena_init(&w->arena, LIMIT_EVENT_ARENA);
    buf_init(&w->inflated, LIMIT_BODY_SERVER + JSON_PADDING);
    buf_init(&w->text, LIMIT_EVENT_BYTES);
    draft_init(&w->draft);
    w->parser = json_parser_new();
    if (!w->parser) {
        worker_free(w);
        return NULL;
    }
    return w;
}

struct workers *workers_new(void)
{
    struct workers *ws = calloc(1, sizeof *ws);

    if (ws && pthread_key_create(&ws->key, worker_free) != 0) {
        free(ws);
        return NULL;
    }
    return ws;
}

void workers_free(struct workers *ws)
{
    if (!ws)
        return;
    pthread_key_delete(ws->key);
    free(ws);
}

struct worker *worker_get(struct workers *ws)
{
    struct worker *w = pthread_getspecific(ws->key);

    if (w || !(w = worker_new()))
        return w;
    if (pthread_setspecific(ws->key, w) != 0) {
        worker_free(w);
        return NULL;
    }
    return w;
}

void worker_reset(struct worker *w)
{
    arena_reset(&w->arena);
    draft_reset(&w->draft);
    buf_reset(&w->text);
    json_parser_trim(w->parser);
    if (w->inflated.cap > LIMIT_KEPT_BYTES) {
        buf_deinit(&w->inflated);
        buf_init(&w->inflated, LIMIT_BODY_SERVER + JSON_PADDING);
    }
}

void worker_mint(void *arg, char hex[33])
{
    struct worker *w = arg;

    if (w->random_left == 0) { /* one call to the kernel for many ids */
        randombytes_buf(w->random, sizeof w->random);
        w->random_left = sizeof w->random;
    }
    w->random_left -= 16;
    sodium_bin2hex(hex, 33, w->random + w->random_left, 16);
}
