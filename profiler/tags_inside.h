/* What the files of the tags share: the set that one fills and the others ask. For profiler/tags*.c alone. */
#ifndef WAYMARK_TAGS_INSIDE_H
#define WAYMARK_TAGS_INSIDE_H

#include <stdatomic.h>

#include "profiler/tags.h"

struct tags {
    atomic_uint readers;
    struct arena arena; /* of all that follows, but the rules */
    struct tag *tags;
    struct rule_tag *names; /* of the same order */
    size_t *sorted;         /* places in `tags`, by name */
    size_t count;
    unsigned needs;
    uint64_t version;
};

/* With one reference. NULL when memory is out. */
struct tags *tags_new(void);
/* What is asked of a set after its tags are in: the index by name, the needs, the version. 0 or -ENOMEM. */
int tags_finish(struct tags *t);

#endif
