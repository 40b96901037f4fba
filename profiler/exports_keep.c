/* Exports as they are kept: a small JSON file each, written anew when something changes. Whoever calls holds the lock
 * of the exports, or is at the start. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "common/num.h"
#include "profiler/exports_inside.h"

#define RECORD_BYTES (LIMIT_EXPORT_MANIFEST + 4 * MIB)

static const char *const state_names[ENTRY_STATES] = {"running", "done", "failed", "expired", "erased"};

bool entry_path(const char *folder, const struct export_entry *e, const char *extension, char out[COPY_PATH_BYTES])
{
    return snprintf(out, COPY_PATH_BYTES, "%s/%s.%s", folder, e->id, extension) < COPY_PATH_BYTES;
}

/* --- writing --------------------------------------------------------------------------------------------------- */

static void write_part(const struct export_entry *n, struct buf *b)
{
    if (n->makers) {
        json_write_key(b, "makers");
        buf_add_text(b, n->makers);
        json_write_member(b, "base", str_of(n->base));
        json_write_key(b, "partitions");
        buf_add_char(b, '[');
        for (size_t i = 0; i < n->partition_count; i++)
            buf_addf(b, "%s%" PRIu32, i ? "," : "", n->partitions[i]);
        buf_add_char(b, ']');
    }
    if (n->places) {
        json_write_key(b, "places");
        buf_add_char(b, '[');
        for (uint32_t p = 0; p < n->place_count; p++)
            buf_addf(b, "%s%" PRId64, p ? "," : "", n->places[p]);
        buf_add_char(b, ']');
    }
}

static void write_record(const struct export_entry *n, struct buf *b)
{
    buf_add_char(b, '{');
    json_write_member(b, "id", str_of(n->id));
    json_write_member(b, "audience", str_of(n->audience));
    json_write_member(b, "who", str_of(n->who));
    json_write_member(b, "state", str_of(state_names[n->state]));
    json_write_member(b, "format", str_of(export_kind_names[n->kind]));
    json_write_member(b, "delta", str_of(n->delta));
    json_write_member(b, "error", str_of(n->error));
    json_write_key(b, "asked_at");
    num_write_int(b, n->asked_at);
    json_write_key(b, "ended_at");
    num_write_int(b, n->ended_at);
    json_write_key(b, "bytes");
    num_write_int(b, (int64_t)n->bytes);
    json_write_key(b, "head");
    num_write_int(b, (int64_t)n->head);
    json_write_key(b, "removals");
    num_write_int(b, (int64_t)n->removals);
    json_write_key(b, "fetched");
    buf_add_text(b, n->fetched ? "true" : "false");
    json_write_key(b, "anew");
    buf_add_text(b, n->anew ? "true" : "false");
    json_write_key(b, "held");
    buf_add_text(b, n->held_until ? "true" : "false");
    write_part(n, b);
    json_write_key(b, "request");
    buf_add_text(b, n->request ? n->request : "null");
    json_write_key(b, "manifest");
    buf_add_text(b, n->manifest ? n->manifest : "null");
    buf_add_text(b, "}\n");
}

int entry_save(const char *folder, const struct export_entry *n, struct err *e)
{
    char name[EXPORT_ID_BYTES + 16], to[COPY_PATH_BYTES], unused[EXPORT_HEX + 1];
    struct export_file f = {.fd = -1};
    int rc = entry_path(folder, n, "json", to) ? 0 : -ENAMETOOLONG;

    snprintf(name, sizeof name, ".%s.json", n->id);
    if (rc == 0)
        rc = export_file_begin(&f, folder, name, 0, e);
    if (rc == 0) {
        write_record(n, export_file_out(&f));
        rc = export_file_end(&f, unused, e);
    }
    if (rc == 0)
        rc = copy_rename(f.path, to, e);
    export_file_drop(&f);
    return rc;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static bool take_text(const struct json *o, const char *key, char *to, size_t room)
{
    const struct json *v = json_get(o, key);

    if (!v || v->type != JSON_STRING || v->text.n >= room)
        return false;
    memcpy(to, v->text.p, v->text.n);
    to[v->text.n] = '\0';
    return true;
}

static bool take_number(const struct json *o, const char *key, int64_t *out)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_NUMBER && num_integer(v->text, INT64_MAX, out) == NUM_OK;
}

static bool take_object(const struct json *o, const char *key, char **out)
{
    const struct json *v = json_get(o, key);

    *out = NULL;
    if (!v || v->type != JSON_OBJECT)
        return v && v->type == JSON_NULL;
    *out = strndup(v->raw.p, v->raw.n);
    return *out != NULL;
}

static bool take_choice(const struct json *o, const char *key, const char *const *names, unsigned n, unsigned *out)
{
    const struct json *v = json_get(o, key);

    for (*out = 0; v && v->type == JSON_STRING && *out < n; ++*out)
        if (str_is(v->text, names[*out]))
            return true;
    return false;
}

static const struct json *list_of(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_ARRAY && v->count <= LIMIT_PARTITIONS ? v : NULL;
}

/* Absent of a whole, and of what older programs wrote. */
static bool read_part(const struct json *o, struct export_entry *n)
{
    const struct json *makers = list_of(o, "makers"), *parts = list_of(o, "partitions"), *places = list_of(o, "places");
    int64_t v;

    if (makers) {
        n->makers = strndup(makers->raw.p, makers->raw.n);
        n->partitions = calloc(LIMIT_PARTITIONS, sizeof *n->partitions);
        if (!n->makers || !n->partitions || !parts || !take_text(o, "base", n->base, sizeof n->base))
            return false;
    }
    for (const struct json *i = makers ? parts->child : NULL; i; i = i->next) {
        if (i->type != JSON_NUMBER || num_integer(i->text, LIMIT_PARTITIONS, &v) != NUM_OK || v < 0)
            return false;
        n->partitions[n->partition_count++] = (uint32_t)v;
    }
    n->places = places ? calloc((size_t)places->count + 1, sizeof *n->places) : NULL;
    for (const struct json *i = n->places ? places->child : NULL; i; i = i->next)
        if (i->type != JSON_NUMBER || num_integer(i->text, INT64_MAX, &n->places[n->place_count++]) != NUM_OK)
            return false;
    return !places || n->places;
}

/* Absent of what older programs wrote. */
static void read_lengths(const struct json *o, struct export_entry *n)
{
    int64_t head, removals;

    if (!take_number(o, "head", &head) || !take_number(o, "removals", &removals) || head < 0 || removals < 0)
        return;
    n->head = (uint64_t)head;
    n->removals = (uint64_t)removals;
}

/* Whether everybody took their part is not known after a start: it is not made. */
static void read_held(const struct json *o, struct export_entry *n)
{
    const struct json *held = json_get(o, "held");

    if (n->state != ENTRY_WAITING || !held || held->type != JSON_TRUE)
        return;
    n->state = ENTRY_FAILED;
    n->ended_at = n->asked_at;
    free(n->request);
    n->request = NULL;
    snprintf(n->error, sizeof n->error, "the program ended before all profilers had taken their parts");
}

static bool read_record(const struct json *o, struct export_entry *n)
{
    const struct json *fetched = json_get(o, "fetched"), *anew = json_get(o, "anew");
    unsigned state, kind;
    int64_t bytes;

    if (!take_text(o, "id", n->id, sizeof n->id) || !take_text(o, "audience", n->audience, sizeof n->audience) ||
        !take_text(o, "who", n->who, sizeof n->who) || !take_text(o, "delta", n->delta, sizeof n->delta) ||
        !take_text(o, "error", n->error, sizeof n->error) || !take_number(o, "asked_at", &n->asked_at) ||
        !take_number(o, "ended_at", &n->ended_at) || !take_number(o, "bytes", &bytes) ||
        !take_choice(o, "state", state_names, ENTRY_STATES, &state) ||
        !take_choice(o, "format", export_kind_names, EXPORT_KINDS, &kind) || !take_object(o, "request", &n->request) ||
        !take_object(o, "manifest", &n->manifest))
        return false;
    n->state = (enum entry_state)state;
    n->kind = (enum export_kind)kind;
    n->bytes = (uint64_t)bytes;
    n->fetched = fetched && fetched->type == JSON_TRUE;
    n->anew = anew && anew->type == JSON_TRUE;
    read_lengths(o, n);
    read_held(o, n);
    return read_part(o, n) && (n->state != ENTRY_WAITING || n->request);
}

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rbe");
    char *p = f ? calloc(1, RECORD_BYTES + JSON_PADDING) : NULL;

    *n = p ? fread(p, 1, RECORD_BYTES, f) : 0;
    if (f)
        fclose(f);
    return p;
}

struct export_entry *entry_load(const char *folder, const char *file_name)
{
    char path[COPY_PATH_BYTES];
    struct json_parser *parser = json_parser_new();
    struct export_entry *n = calloc(1, sizeof *n);
    const struct json *root;
    size_t bytes = 0;
    struct err e;
    bool ok = parser && n && copy_path(path, folder, file_name, NULL) == 0;
    char *text = ok ? read_file(path, &bytes) : NULL;

    ok = text && json_parse(parser, text, bytes, &root, &e) == JSON_OK && read_record(root, n);
    /* an entry is named as its file is */
    ok = ok && strlen(file_name) == strlen(n->id) + 5 && strncmp(file_name, n->id, strlen(n->id)) == 0;
    json_parser_free(parser);
    free(text);
    if (ok && entry_path(folder, n, "sent", path))
        n->has_sent = access(path, F_OK) == 0;
    if (ok)
        return n;
    entry_free(n);
    return NULL;
}

void entry_free(struct export_entry *e)
{
    if (!e)
        return;
    free(e->makers);
    free(e->partitions);
    free(e->places);
    free(e->request);
    free(e->manifest);
    free(e);
}

/* --- the folder ------------------------------------------------------------------------------------------------ */

static void put(struct export_entry **list, struct export_entry *n)
{
    while (*list && strcmp((*list)->id, n->id) > 0)
        list = &(*list)->next;
    n->next = *list;
    *list = n;
}

static bool ends(const char *s, const char *with)
{
    size_t n = strlen(s), m = strlen(with);

    return n > m && strcmp(s + n - m, with) == 0;
}

static void look_at(const char *folder, const char *name, struct export_entry **list)
{
    char path[COPY_PATH_BYTES];

    if (export_is_rest(name)) {
        if (copy_path(path, folder, name, NULL) == 0)
            unlink(path);
    } else if (strncmp(name, "ex_", 3) == 0 && ends(name, ".json")) {
        struct export_entry *n = entry_load(folder, name);

        if (n)
            put(list, n);
        else
            log_warn("profiler: %s/%s is no export's record, it is left alone", folder, name);
    }
}

/* Files of an export that was not done when the program ended, and that nobody has a record of, hold people. */
static void remove_unknown(const char *folder, const char *name, const struct export_entry *list)
{
    const char *dot = strchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : 0;
    char path[COPY_PATH_BYTES];

    if (strncmp(name, "ex_", 3) != 0 || !dot || ends(name, ".json"))
        return;
    for (; list; list = list->next)
        if (strlen(list->id) == n && strncmp(list->id, name, n) == 0 && list->state != ENTRY_WAITING)
            return;
    if (copy_path(path, folder, name, NULL) == 0)
        unlink(path);
}

static int each_name(const char *folder, struct export_entry **list, bool unknown, struct err *e)
{
    DIR *d = opendir(folder);
    const struct dirent *f;

    if (!d) {
        int rc = -errno;

        err_set(e, "cannot read the folder %.180s: %s", folder, strerror(-rc));
        return rc;
    }
    while ((f = readdir(d)) != NULL) {
        if (unknown)
            remove_unknown(folder, f->d_name, *list);
        else
            look_at(folder, f->d_name, list);
    }
    closedir(d);
    return 0;
}

int entries_load(const char *folder, struct export_entry **out, struct err *e)
{
    *out = NULL;
    int rc = each_name(folder, out, false, e);
    if (rc == 0)
        rc = each_name(folder, out, true, e);
    return rc;
}
