/* protobuf-c within bounds, for the files that know the types of waymark.v1: proto/codec.c and profiler/facts_codec.c.
 * Pure. */
#ifndef WAYMARK_PB_H
#define WAYMARK_PB_H

#include <protobuf-c/protobuf-c.h>

#include "common/arena.h"
#include "common/buf.h"

/* A number or the head of a text takes at most this much: a tag of two bytes and ten bytes of value. */
#define PB_FIELD_BYTES 12

/* Appends the message; false (b->failed) when it does not fit. `bound`: no less than its size, cheaper to know than the
 * exact size, which costs protobuf-c as much as packing and is asked for only where the bound does not fit. */
bool pb_pack(const ProtobufCMessage *m, size_t bound, struct buf *b);

/* A message in the arena, of which it takes less than `budget`; never to be freed. NULL with errno EINVAL for
 * bytes that are none or would take more, and with ENOMEM when memory is out. Fields that are not known are let by. */
const ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *type, struct str bytes, size_t budget,
                                  struct arena *a);

#endif
