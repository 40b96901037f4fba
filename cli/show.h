/* Answers of the profiler as a person reads them. Each takes the parsed answer and prints on standard output. Text that
 * came from clients is printed without control characters, so that nobody writes to an operator's terminal. */
#ifndef WAYMARK_SHOW_H
#define WAYMARK_SHOW_H

#include <stdint.h>

#include "common/json.h"

void show_profile(const struct json *profile);
/* By name; each may be {"value","time","source"}. */
void show_traits(const struct json *traits);
void show_consent(const struct json *consent);
void show_orders(const struct json *answer);
void show_scene(const struct json *scene);
/* One line of a path; a heading when the session is another than *session, which is then changed. */
void show_event(const struct json *event, uint32_t *session);
/* Prints a text safely. */
void show_text(struct str s);

#endif
