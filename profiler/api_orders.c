/* The orders of a profile. Look-up threads. */
#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/render.h"

void run_orders(struct ask *ask)
{
    /* As of a time, whether there was a profile at all is known by its path. */
    unsigned what = ask->as_of == TIME_NONE ? VIEW_ORDERS : VIEW_ORDERS | VIEW_PATH;
    struct err e = {0};
    struct buf body;
    struct view v;
    int r = view_open(ask->api, ask->partition, ask->id, ask->as_of, what, &v, &e);

    if (r == STATE_NOT_FOUND) {
        ask_error(ask, 404, "profile_not_found", "nothing is known of this id");
        return;
    }
    if (r != 0) {
        ask_broken(ask, r, &e);
        return;
    }
    buf_init(&body, LIMIT_ANSWER_BYTES);
    buf_add_text(&body, "{\"orders\":[");
    for (size_t i = 0; i < v.order_count; i++) {
        if (i)
            buf_add_char(&body, ',');
        render_order(&body, &v.orders[i], v.state.id);
    }
    buf_add_text(&body, "]}");
    ask_answer(ask, &body);
    buf_deinit(&body);
    view_close(&v);
}
