/* The cache of profiles in Redis: the ready-to-send answer of each profile, so that any profiler answers a look-up and
 * only a miss goes to the partition's owner. A reader never gets an answer older than one that was shown before, though
 * Redis, the network and the owners may stop, stall, come back with old data or deliver commands late. The rules of
 * that protocol, each named where the code keeps it:
 *
 *   deadline  a lease ends at a time of Redis' own clock, within the owner's term
 *   run       the name of a lease holds the run_id of the Redis that it was made for
 *   before    the copies of what a batch changes are deleted, then the batch is shown, then new copies are set
 *   over      a batch whose deletes are not confirmed is shown when every lease that could make a copy believed is over
 *   sent      ... that is, by the last lease that was sent, not the last one confirmed
 *   fill      a miss copies no profile that a batch under way may change, nor one that changed since it was read
 *   fresh     a generation is random, belongs to one partition and one connection, and ends with either
 *   shop      ... and begins with the shop's number: where two shops have one prefix by mistake, neither believes the
 *             other's copies
 *   tags      a copy says which tags and cut points its tags are by, and until when: it is believed where the same ones
 *             count, and until then
 *
 * (claim, wait, asked and clock are the owner's: ownership.h.)
 *
 * Keys, PREFIX from the configuration, {id} as in the API ("user:42"):
 *   PREFIX profile:{id}                     generation (32 hex digits), blank, version, and where there are tags
 *                                           blank, what they are by, blank, until when (ms, 0: for ever); newline,
 *                                           the answer's JSON
 *   PREFIX lease:{partition}:{run_id}       the generation that may be believed
 *
 * Others may read the copies; without the lease they may see what is older than what was shown.
 *
 * Redis 6.2 or later, a master, whose clock is slewed and not stepped; any policy of eviction will do. A user of its
 * ACL needs `~PREFIX* +select +info +time +mget +set +del`. Whoever makes a replica of a master that is in use closes
 * its connections (as Sentinel does with `client kill type normal`): the role is asked for once a connection.
 *
 * Threads: one that has the writing connection, one that reads for look-ups; all functions from any thread. Times are
 * of the boot clock (clock_boot), which goes on while the machine sleeps. Nothing here waits for Redis, but
 * cache_begin and cache_forget. */
#ifndef WAYMARK_CACHE_H
#define WAYMARK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/stats.h"
#include "common/str.h"

struct cache;

struct cache_options {
    const struct conf_redis *redis;
    uint32_t partitions;
    struct stats *stats; /* gets waymark_cache_*; may be NULL */
    /* Rule `shop`: a number that all profilers of this shop give, and no others; 0 while it is not known, when nothing
     * is leased or believed. Quick, any thread. NULL: nobody else reads or writes these keys. */
    uint64_t (*shop)(void *arg);
    /* Rule `tags`: a number of what the tags in an answer are by, the same wherever those are the same; 0 while it is
     * not known, when no copy is believed. Quick, any thread. NULL: there are no tags. */
    uint64_t (*tags)(void *arg);
    void *arg;
};

/* Fails on options that can never work (a bad url, an unreadable file); Redis may be away. */
int cache_start(const struct cache_options *o, struct cache **out, struct err *e);
/* Ends the threads within `ms`; reads under way are answered as misses. */
void cache_stop(struct cache *c, int64_t ms);
void cache_free(struct cache *c);

/* --- the owner's side ----------------------------------------------------------------------------------------- */

/* The log has confirmed this process as the partition's owner until `until`, and it may show what it has. Four times a
 * second. When it comes later than the `until` before, what was copied until then is not believed any more. */
void cache_lease(struct cache *c, uint32_t partition, int64_t until);
/* No longer the owner, or not for sure: no lease from now on. What was sent runs out by itself. */
void cache_release(struct cache *c, uint32_t partition);

/* The next batch of the partition may change these profiles; nothing of it is shown yet. To be followed by one
 * cache_end, also when nothing comes of it. Returns 0 when no reader
 * believes a copy of them any more: it may be shown. Else the time from which on it may be (rule `over`). Waits for the
 * confirmation for 50 ms at most, and not at all where no lease is out. */
int64_t cache_begin(struct cache *c, uint32_t partition, const struct str *ids, size_t n);
/* Whether copies would be taken now; else there is no use in making them. */
bool cache_wants(struct cache *c, uint32_t partition);
/* The batch is shown: ends what cache_begin began. `copies` may be fewer, or none. An answer of more than
 * LIMIT_CACHE_COPY_BYTES is not copied. */
struct cache_copy {
    struct str id, answer;
    int64_t version;
    uint64_t tags; /* what its tags are by: cache_options.tags of who made it */
    int64_t until; /* the first moment, by the wall clock, at which time may change them; 0: never */
};
void cache_end(struct cache *c, uint32_t partition, const struct cache_copy *copies, size_t n);

/* A profile that somebody missed: take the ticket, read the profile as shown, fill. Dropped when it changed meanwhile.
 */
uint64_t cache_ticket(struct cache *c, uint32_t partition);
void cache_fill(struct cache *c, uint32_t partition, uint64_t ticket, const struct cache_copy *copy);

/* The copies of these profiles, whichever partition's and generation's, are not in Redis when this returns 0: deleted,
 * and Redis said so. -EAGAIN when it did not within `ms`. Whoever does not want them to be copied again calls it when
 * nothing of them is shown any more. Any thread that may wait. */
int cache_forget(struct cache *c, const struct str *ids, size_t n, int64_t ms);

/* --- readers -------------------------------------------------------------------------------------------------- */

/* A question; lies in memory of the asker's until `done`, which is called once, on the reading thread or, when it
 * cannot be asked, before cache_read returns. `answer` absent: a miss, ask the owner; it lives during the call. */
struct cache_question {
    uint32_t partition;
    struct str id;
    void (*done)(struct cache_question *q, struct str answer, int64_t version);
    struct cache_question *next; /* the cache's, as is `asked` */
    int64_t asked;
};
/* Answered within 100 ms. */
void cache_read(struct cache *c, struct cache_question *q);

#endif
