/* What ends the writing anew of the state's files. Any thread. */
#include "profiler/state_private.h"

void state_compact_stop(struct state *s)
{
    store_compact_stop(s->store);
}
