/* The form of a record in the store, under its offset. Pure.
 *
 *   8  bytes appended to the partition before this record (its own size here included from the next one on)
 *   8  time, ms
 *   1  kind
 *   1  1: the key is present, 2: the value is present, 4: it was made anew in its place
 *   4  bytes of the key, which follows; the value is the rest
 *   8  of one that was made anew: bytes of all of what was appended there
 *
 * Numbers are big-endian. By the first field the bytes between any two records are known without reading what is
 * between them; that is what retention by size counts: records uncompressed with this header, not files, and each as
 * large as it was when it was appended. */
#ifndef WAYMARK_LOG_RECORD_H
#define WAYMARK_LOG_RECORD_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/event_log.h"

enum { LOG_RECORD_HEADER = 22, LOG_RECORD_TAIL = 8, LOG_HAS_KEY = 1, LOG_HAS_VALUE = 2, LOG_IS_ANEW = 4 };

static inline size_t log_record_size(const struct log_record *r)
{
    return LOG_RECORD_HEADER + r->key.n + r->value.n;
}

static inline void log_put64(char *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint64_t log_get64(const char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

/* Writes log_record_size() bytes, with the first field 0. */
static inline void log_record_write(char *p, const struct log_record *r, int64_t time)
{
    uint32_t key = htobe32((uint32_t)r->key.n);

    log_put64(p, 0);
    log_put64(p + 8, (uint64_t)time);
    p[16] = (char)r->kind;
    p[17] = (char)((str_has(r->key) ? LOG_HAS_KEY : 0) | (str_has(r->value) ? LOG_HAS_VALUE : 0));
    memcpy(p + 18, &key, sizeof(key));
    if (r->key.n)
        memcpy(p + LOG_RECORD_HEADER, r->key.p, r->key.n);
    if (r->value.n)
        memcpy(p + LOG_RECORD_HEADER + r->key.n, r->value.p, r->value.n);
}

/* The first field, of a record that is being queued. */
static inline void log_record_set_before(char *p, uint64_t bytes)
{
    log_put64(p, bytes);
}

/* Makes a record without a key and with its own time anew in the place of one that was read with log_record_span and
 * `before`. Writes log_record_size() and LOG_RECORD_TAIL bytes. */
static inline void log_record_write_anew(char *p, const struct log_record *r, uint64_t before, uint64_t span)
{
    log_record_write(p, r, r->time);
    log_put64(p, before);
    p[17] = (char)(p[17] | LOG_IS_ANEW);
    log_put64(p + log_record_size(r), span);
}

/* How many bytes were appended in the place of a record that log_record_read has taken. */
static inline uint64_t log_record_span(struct str bytes)
{
    return bytes.p[17] & LOG_IS_ANEW ? log_get64(bytes.p + bytes.n - LOG_RECORD_TAIL) : bytes.n;
}

/* Fills all but the offset, pointing into `bytes`. False when it is no record. */
static inline bool log_record_read(struct str bytes, struct log_record *r, uint64_t *before)
{
    uint32_t key;

    if (bytes.n < LOG_RECORD_HEADER)
        return false;
    if (bytes.p[17] & LOG_IS_ANEW) {
        if (bytes.n < LOG_RECORD_HEADER + LOG_RECORD_TAIL)
            return false;
        bytes.n -= LOG_RECORD_TAIL;
    }
    memcpy(&key, bytes.p + 18, sizeof(key));
    key = be32toh(key);
    if (key > bytes.n - LOG_RECORD_HEADER)
        return false;
    *before = log_get64(bytes.p);
    r->time = (int64_t)log_get64(bytes.p + 8);
    r->kind = (enum log_kind)(unsigned char)bytes.p[16];
    r->key = bytes.p[17] & LOG_HAS_KEY ? (struct str){bytes.p + LOG_RECORD_HEADER, key} : STR_NONE;
    r->value = bytes.p[17] & LOG_HAS_VALUE
                   ? (struct str){bytes.p + LOG_RECORD_HEADER + key, bytes.n - LOG_RECORD_HEADER - key}
                   : STR_NONE;
    return true;
}

#endif
