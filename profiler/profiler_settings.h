/* What the configuration says about the fold and the state's folder, for everybody who opens the state. */
#ifndef WAYMARK_PROFILER_SETTINGS_H
#define WAYMARK_PROFILER_SETTINGS_H

#include "common/conf.h"
#include "common/err.h"
#include "profiler/rules.h"
#include "profiler/state.h"
#include "profiler/traits.h"

/* `state.rules` points into the struct: it must stay where it is. */
struct profiler_settings {
    struct fold_rules rules;
    struct zone *zone;
    struct seal_keys *keys; /* NULL: there are none, and personal values are not folded */
    struct traits_counters traits_counters;
    struct traits_rules traits;
    unsigned char erasure_key[SEAL_ERASURE_KEY_BYTES];
    char path[4096];
    struct state_options state;
};
/* Fills it; fails when the time zone is unknown or the keys cannot be read. Call before threads start. `conf` must
 * outlive it. */
int profiler_settings_init(struct profiler_settings *s, const struct conf *conf, struct err *e);
void profiler_settings_deinit(struct profiler_settings *s);

#endif
