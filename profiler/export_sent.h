/* What the export before has told a network or a list: who, by a keyed hash, and of networks the hashes by which they
 * are removed again. A file beside the export. Whoever was erased stands in it, by hashes alone, until an export has
 * told the removal. One thread. */
#ifndef WAYMARK_EXPORT_SENT_H
#define WAYMARK_EXPORT_SENT_H

#include "common/err.h"
#include "common/str.h"
#include "profiler/export_file.h"

struct sent;

/* Reads the file; `path` NULL: nothing was sent yet. -EBADMSG for a file that is none. */
int sent_open(const char *path, struct sent **out, struct err *e);
void sent_close(struct sent *s);

enum sent_look { SENT_NEW, SENT_SAME, SENT_CHANGED };
/* Somebody is exported with this line; `least`: what is kept to remove them. */
enum sent_look sent_look(struct sent *s, const struct export_person_hash *who, struct str line, struct str least);
/* Somebody is in the audience and left out for a reason (below 16). */
void sent_left_out(struct sent *s, const struct export_person_hash *who, unsigned reason);

#define SENT_GONE 16u     /* is not in the audience any more, or nowhere */
#define SENT_REPLACED 17u /* is told anew under other hashes */
#define SENT_MOVED 18u    /* is of a partition that another profiler has by now, and is told anew there */
/* Calls `each` for everybody who is to be removed, with what was kept and why. It returns 0 or a negative errno.
 * `here`: for each of the partitions, whether its people were looked at; NULL: all were. */
int sent_each_gone(struct sent *s, const bool *here, uint32_t partitions,
                   int (*each)(void *arg, const struct export_person_hash *who, struct str least, unsigned reason),
                   void *arg, struct err *e);

/* The head of a new file, then one for each who was told. */
void sent_head(struct buf *b);
void sent_write(struct buf *b, const struct export_person_hash *who, uint32_t partition, struct str line,
                struct str least);

#endif
