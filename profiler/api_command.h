/* Commands on their way from the API to the log: records by which somebody who administers the profiles changes them.
 * Private to api*.c. */
#ifndef WAYMARK_API_COMMAND_H
#define WAYMARK_API_COMMAND_H

#include "profiler/api_ask.h"
#include "proto/internal.h"

struct command_fate {
    bool known; /* else the log has not said yet what became of it */
    enum log_status status;
    uint32_t partition;
    int64_t offset;
};

/* Appends the command under the key and calls `done` once with what became of it, within 2 s, on a look-up thread or
 * before it returns. No thread waits. Any thread. */
typedef void command_done(struct ask *ask, const struct command_fate *fate);
void command_order(struct ask *ask, const struct command *c, struct str key, command_done *done);
/* Whether it is durable; answers when not. */
bool command_taken(struct ask *ask, const struct command_fate *fate);
/* Its place as text ("3:812") in the arena of the request; NULL when memory is out. */
char *command_position(struct ask *ask, const struct command_fate *fate);

#endif
