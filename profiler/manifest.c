/* The text of a manifest, written and read. */
#include "profiler/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/num.h"

#define FORMAT 1
#define HEX_BYTES (2 * MANIFEST_HASH_BYTES)
/* What stands behind the text that is hashed: this, the hash, and TAIL_END. */
#define TAIL ",\n\"hash\":\""
#define TAIL_END "\"}\n"
#define TAIL_BYTES (sizeof TAIL - 1 + HEX_BYTES + sizeof TAIL_END - 1)

static void hash_text(struct str text, char hex[HEX_BYTES + 1])
{
    unsigned char hash[MANIFEST_HASH_BYTES];

    crypto_generichash(hash, sizeof hash, (const unsigned char *)text.p, text.n, NULL, 0);
    sodium_bin2hex(hex, HEX_BYTES + 1, hash, sizeof hash);
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static void write_head(const struct manifest *m, struct buf *b)
{
    json_write_member(b, "waymark", str_of(m->version));
    json_write_member(b, "instance", str_of(m->instance));
    buf_add_text(b, ",\"made_at\":\"");
    time_write(b, m->made_at);
    buf_add_char(b, '"');
    json_write_member(b, "made_by", str_of(m->scheduled ? "schedule" : "request"));
    json_write_member(b, "event_log", str_of(m->event_log));
    json_write_member(b, "topic_prefix", str_of(m->topic_prefix));
    buf_addf(b, ",\"partition_count\":%u,\n\"partitions\":[", (unsigned)m->partition_count);
    for (size_t i = 0; i < m->partitions_held; i++)
        buf_addf(b, "%s\n{\"partition\":%u,\"offset\":%" PRId64 ",\"began\":%" PRId64 ",\"base\":%" PRId64 "}",
                 i ? "," : "", (unsigned)m->partitions[i].number, m->partitions[i].offset, m->partitions[i].began,
                 m->partitions[i].base);
    buf_add_char(b, ']');
}

static void write_file(const struct manifest_file *f, struct buf *b)
{
    char hex[HEX_BYTES + 1];

    sodium_bin2hex(hex, sizeof hex, f->hash, sizeof f->hash);
    buf_add_text(b, "\n{\"name\":");
    json_write_str(b, str_of(f->name));
    buf_addf(b, ",\"size\":%" PRIu64, f->size);
    if (f->partition != MANIFEST_SHARED)
        buf_addf(b, ",\"partition\":%u", (unsigned)f->partition);
    buf_addf(b, ",\"blake2b\":\"%s\"}", hex);
}

bool manifest_write(const struct manifest *m, struct buf *b)
{
    char hex[HEX_BYTES + 1];

    buf_addf(b, "{\"format\":%d", FORMAT);
    write_head(m, b);
    buf_add_text(b, ",\n\"files\":[");
    for (size_t i = 0; i < m->file_count; i++) {
        if (i)
            buf_add_char(b, ',');
        write_file(&m->files[i], b);
    }
    buf_add_char(b, ']');
    hash_text(buf_str(b), hex);
    buf_addf(b, "%s%s%s", TAIL, hex, TAIL_END);
    return !b->failed;
}

void manifest_write_summary(const struct manifest *m, const char *name, struct buf *b)
{
    buf_add_text(b, "{\"name\":");
    json_write_str(b, str_of(name));
    write_head(m, b);
    buf_addf(b, ",\n\"files\":%zu,\"bytes\":%" PRIu64 "}", m->file_count, manifest_bytes(m));
}

/* --- reading -------------------------------------------------------------------------------------------------- */

struct reading {
    struct manifest m;
    struct arena arena;
};

static bool get_text(struct reading *r, const struct json *o, const char *name, const char **out)
{
    const struct json *j = json_get(o, name);

    if (!j || j->type != JSON_STRING || memchr(j->text.p, '\0', j->text.n))
        return false;
    *out = arena_dup(&r->arena, j->text).p;
    return *out != NULL;
}

static bool get_number(const struct json *o, const char *name, uint64_t most, uint64_t *out)
{
    const struct json *j = json_get(o, name);

    return j && j->type == JSON_NUMBER && num_u64(j->text, out) == 0 && *out <= most;
}

static bool get_offset(const struct json *o, const char *name, int64_t *out)
{
    uint64_t v;

    if (!get_number(o, name, INT64_MAX, &v))
        return false;
    *out = (int64_t)v;
    return true;
}

/* May be below 0. Not there: 0. */
static bool get_place(const struct json *o, const char *name, int64_t *out)
{
    const struct json *j = json_get(o, name);

    *out = 0;
    return !j || (j->type == JSON_NUMBER && num_integer(j->text, INT64_MAX, out) == NUM_OK);
}

static bool get_list(struct reading *r, const struct json *o, const char *name, size_t each, void **out, size_t *n)
{
    const struct json *list = json_get(o, name);

    if (!list || list->type != JSON_ARRAY || list->count > LIMIT_BACKUP_FILES)
        return false;
    *n = list->count;
    *out = arena_zalloc(&r->arena, (*n + 1) * each);
    return *out != NULL;
}

static bool read_partitions(struct reading *r, const struct json *o)
{
    struct manifest *m = &r->m;
    const struct json *j;
    void *list;
    uint64_t number;
    size_t i = 0;

    if (!get_list(r, o, "partitions", sizeof *m->partitions, &list, &m->partitions_held))
        return false;
    m->partitions = list;
    for (j = json_get(o, "partitions")->child; j; j = j->next, i++) {
        struct manifest_partition *p = &m->partitions[i];

        if (!get_number(j, "partition", m->partition_count - 1, &number) || !get_offset(j, "offset", &p->offset) ||
            !json_get(j, "began") || !get_place(j, "began", &p->began) || !get_place(j, "base", &p->base) ||
            p->base < 0 || p->base > INT64_MAX - p->offset)
            return false;
        p->number = (uint32_t)number;
    }
    return true;
}

/* A name that stays in its folder, whoever wrote the manifest. */
static bool name_is_safe(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

    return n > 0 && n <= NAME_MAX && name[n] == '\0' && name[0] != '.';
}

static bool read_file(struct reading *r, const struct json *j, struct manifest_file *f)
{
    const char *hex;
    uint64_t partition = MANIFEST_SHARED;
    size_t n = 0;

    if (!get_text(r, j, "name", &f->name) || !name_is_safe(f->name) || !get_number(j, "size", INT64_MAX, &f->size) ||
        !get_text(r, j, "blake2b", &hex) ||
        sodium_hex2bin(f->hash, sizeof f->hash, hex, strlen(hex), NULL, &n, NULL) != 0 || n != sizeof f->hash)
        return false;
    if (json_get(j, "partition") && !get_number(j, "partition", r->m.partition_count - 1, &partition))
        return false;
    f->partition = (uint32_t)partition;
    return true;
}

static bool read_files(struct reading *r, const struct json *o)
{
    struct manifest *m = &r->m;
    const struct json *j;
    void *list;
    size_t i = 0;

    if (!get_list(r, o, "files", sizeof *m->files, &list, &m->file_count))
        return false;
    m->files = list;
    for (j = json_get(o, "files")->child; j; j = j->next, i++)
        if (!read_file(r, j, &m->files[i]))
            return false;
    return true;
}

static bool read_head(struct reading *r, const struct json *o)
{
    struct manifest *m = &r->m;
    const char *made_at, *made_by;
    uint64_t count;

    if (!get_text(r, o, "waymark", &m->version) || !get_text(r, o, "instance", &m->instance) ||
        !get_text(r, o, "event_log", &m->event_log) || !get_text(r, o, "topic_prefix", &m->topic_prefix) ||
        !get_text(r, o, "made_at", &made_at) || !get_text(r, o, "made_by", &made_by) ||
        !get_number(o, "partition_count", LIMIT_PARTITIONS, &count) || count == 0)
        return false;
    m->partition_count = (uint32_t)count;
    m->scheduled = strcmp(made_by, "schedule") == 0;
    return time_parse(str_of(made_at), &m->made_at) == 0;
}

static int take_apart(struct reading *r, const struct json *o, struct err *e)
{
    uint64_t format;

    if (!get_number(o, "format", INT32_MAX, &format)) {
        err_set(e, "it says no format");
    } else if (format != FORMAT) {
        err_set(e, "it is of format %" PRIu64 ", and this program knows %d", format, FORMAT);
    } else if (!read_head(r, o) || !read_partitions(r, o) || !read_files(r, o)) {
        err_set(e, "something in it is missing or impossible");
    } else {
        return 0;
    }
    return -EBADMSG;
}

/* The hash at its end is that of what stands before it. */
static bool is_intact(struct str text)
{
    char hex[HEX_BYTES + 1];
    struct str tail;

    if (text.n < TAIL_BYTES)
        return false;
    tail = (struct str){text.p + text.n - TAIL_BYTES, TAIL_BYTES};
    hash_text((struct str){text.p, text.n - TAIL_BYTES}, hex);
    return str_starts(tail, STR_LIT(TAIL)) && memcmp(tail.p + sizeof TAIL - 1, hex, HEX_BYTES) == 0 &&
           str_eq((struct str){str_end(tail) - (sizeof TAIL_END - 1), sizeof TAIL_END - 1}, STR_LIT(TAIL_END));
}

static int parse(struct reading *r, struct str text, struct err *e)
{
    struct json_parser *parser = json_parser_new();
    char *copy = malloc(text.n + JSON_PADDING);
    const struct json *root;
    int rc = -ENOMEM;

    if (parser && copy) {
        memcpy(copy, text.p, text.n);
        rc = json_parse(parser, copy, text.n, &root, e);
        if (rc > 0)
            rc = -EBADMSG;
    }
    if (rc == 0)
        rc = take_apart(r, root, e);
    json_parser_free(parser);
    free(copy);
    return rc;
}

int manifest_parse(struct str text, struct manifest **out, struct err *e)
{
    struct reading *r;
    int rc;

    if (!is_intact(text)) {
        err_set(e, "its own hash does not match: it was cut off or changed");
        return -EBADMSG;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    arena_init(&r->arena, LIMIT_MANIFEST_BYTES * 2);
    r->m.private = r;
    rc = parse(r, text, e);
    if (rc < 0)
        manifest_free(&r->m);
    else
        *out = &r->m;
    return rc;
}

void manifest_free(struct manifest *m)
{
    struct reading *r;

    if (!m)
        return;
    r = m->private;
    arena_deinit(&r->arena);
    free(r);
}

static int read_text(int fd, struct buf *b)
{
    ssize_t n = 1;

    while (n > 0) {
        if (!buf_room(b, 64 * KIB))
            return -EFBIG;
        n = read(fd, b->p + b->n, 64 * KIB);
        if (n < 0)
            return -errno;
        b->n += (size_t)n;
    }
    return 0;
}

int manifest_read(const char *folder, struct manifest **out, struct err *e)
{
    char path[4096];
    struct buf b;
    int fd, rc;

    if (snprintf(path, sizeof path, "%s/%s", folder, MANIFEST_NAME) >= (int)sizeof path)
        return -ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        rc = -errno;
        err_set(e, "%s: %s", path, strerror(-rc));
        return rc;
    }
    buf_init(&b, LIMIT_MANIFEST_BYTES);
    rc = read_text(fd, &b);
    close(fd);
    if (rc < 0)
        err_set(e, "%s", strerror(-rc));
    else
        rc = manifest_parse(buf_str(&b), out, e);
    if (rc < 0)
        err_prefix(e, "%s", path);
    buf_deinit(&b);
    return rc;
}

/* --- asking --------------------------------------------------------------------------------------------------- */

const struct manifest_partition *manifest_partition(const struct manifest *m, uint32_t number)
{
    for (size_t i = 0; i < m->partitions_held; i++)
        if (m->partitions[i].number == number)
            return &m->partitions[i];
    return NULL;
}

uint64_t manifest_bytes(const struct manifest *m)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < m->file_count; i++)
        sum += m->files[i].size;
    return sum;
}
