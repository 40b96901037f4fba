/* The users of a device by number, and whose an event is by them. Private to the state. */
#ifndef WAYMARK_DEVICE_USERS_H
#define WAYMARK_DEVICE_USERS_H

#include "profiler/state_private.h"

/* By the id, or the alias, as it stands there. NO_USER: there is none. */
uint32_t device_find_user(const struct device *d, struct str id);
/* Under whom what is said of the user at that time is kept: what was theirs when they were erased is their alias'. */
uint32_t device_find_user_then(const struct partition *p, const struct device *d, struct str id, int64_t time);
/* As device_find_user; one who is not there is added, for good. Memory that is out ends the process. */
uint32_t device_user_number(struct partition *p, struct device *d, struct str id);
/* Links of later than the erasure are those of a new life: they get a number of their own, which it returns; NO_USER
 * when there are none. The links are known. */
uint32_t device_split_links(struct partition *p, struct device *d, uint32_t user, int64_t until);

#endif
