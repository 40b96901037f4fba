/* A record known again. Any thread. */
#include "profiler/same_log.h"

#include <string.h>

#include "common/limits.h"
#include "proto/codec.h"

bool same_event(const struct log_record *record, int64_t offset, const struct uid *uid)
{
    struct event event;
    struct arena arena;

    if (record->offset != offset)
        return false;
    if (record->kind == LOG_KIND_ERASED) /* this log's: on no other there is one */
        return true;
    if (record->kind != LOG_KIND_EVENT)
        return false;
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    bool same = event_unpack(record->value, &arena, &event) == CODEC_OK && memcmp(event.uid.b, uid->b, UID_BYTES) == 0;
    arena_deinit(&arena);
    return same;
}
