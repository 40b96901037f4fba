/* The same question to several instances at once, and all their answers together. Private to api_*.c. */
#ifndef WAYMARK_API_CIRCLE_H
#define WAYMARK_API_CIRCLE_H

#include <pthread.h>

#include "common/json.h"
#include "profiler/api_ask.h"

struct circle;

/* Of one instance. */
struct circle_answer {
    struct circle *circle;
    char base[PEER_URL];
    struct peer_call call;
    unsigned status; /* 0: it did not answer */
    char instance[96];
    struct buf body; /* after json_parse */
    struct json_parser *parser;
    const struct json *root; /* of the body; NULL: it is not JSON */
};

struct circle {
    struct lookup_job job; /* first */
    struct ask *ask;
    /* Once, when everybody has answered or did not in time: on a look-up thread, or where circle_ask was called. It
     * frees the circle. */
    void (*done)(struct circle *c);
    void *arg;
    struct circle_answer answers[LIMIT_FORWARDS_OF_ONE];
    size_t count;
    pthread_mutex_t lock;
    size_t under_way; /* [lock] and who sends */
};

struct circle_question {
    struct str path;  /* raw */
    const char *more; /* parameters, encoded; NULL: none */
    struct str post;  /* by POST; absent: by GET. Lives until `done` */
    int64_t ms;       /* for the answer, from now */
};

/* Answers when memory is out: NULL then. */
struct circle *circle_new(struct ask *ask, void (*done)(struct circle *c), void *arg);
/* NULL is allowed. */
void circle_free(struct circle *c);
/* One more instance, if it is not among them. False: there are too many. */
bool circle_add(struct circle *c, const char *base);
/* All that have claimed a partition last and are others. */
bool circle_add_known(struct circle *c);
/* Those that have what is not `told`, for each partition. False: it has answered, since nobody is known to have one. */
bool circle_add_owners(struct circle *c, const bool *told);
/* Any thread. Calls `done` always. */
void circle_ask(struct circle *c, const struct circle_question *q);
/* "http://10.0.0.7:8081 (profiler1)", for people; in the arena of the request. */
const char *circle_name(const struct circle_answer *a);

#endif
