/* Rows of CSV and NDJSON files, one at a time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/rows.h"

struct rows {
    FILE *file;
    bool ndjson;
    char delimiter;
    uint64_t number, offset, size;
    struct buf head_text; /* the columns' names, NUL-separated by position */
    struct str head[ROWS_COLUMNS];
    size_t columns;
    struct buf record;         /* the fields' bytes, or the line */
    size_t ends[ROWS_COLUMNS]; /* end of each field in record */
    size_t fields;
    struct json_parser *parser;
    const struct json *object;
};

/* Reads one CSV record into `record` and `ends`. Returns ROWS_END, ROWS_ROW or ROWS_BAD. */
static int read_record(struct rows *r, const char **why)
{
    bool quoted = false, any = false, too_many = false;
    int c;

    buf_reset(&r->record);
    r->fields = 0;
    while ((c = getc_unlocked(r->file)) != EOF) {
        r->offset++;
        any = true;
        if (quoted) {
            if (c != '"') {
                buf_add_char(&r->record, (char)c);
                continue;
            }
            int next = getc_unlocked(r->file);
            if (next == '"') {
                r->offset++;
                buf_add_char(&r->record, '"');
                continue;
            }
            if (next != EOF)
                ungetc(next, r->file);
            quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == r->delimiter) {
            too_many |= r->fields + 1 >= ROWS_COLUMNS;
            if (!too_many)
                r->ends[r->fields++] = r->record.n;
        } else if (c == '\n') {
            break;
        } else if (c != '\r') {
            buf_add_char(&r->record, (char)c);
        }
    }
    if (!any)
        return ROWS_END;
    r->ends[r->fields++] = r->record.n;
    *why = quoted ? "quote_unclosed" : r->record.failed ? "row_too_large" : "too_many_columns";
    return quoted || r->record.failed || too_many ? ROWS_BAD : ROWS_ROW;
}

static struct str field_at(const struct rows *r, size_t i)
{
    size_t begin = i ? r->ends[i - 1] : 0;

    return (struct str){r->record.p + begin, r->ends[i] - begin};
}

static bool read_head(struct rows *r)
{
    const char *why;

    if (read_record(r, &why) != ROWS_ROW || !r->record.n)
        return false;
    buf_add_str(&r->head_text, buf_str(&r->record));
    r->columns = r->fields;
    for (size_t i = 0; i < r->columns; i++) {
        struct str f = field_at(r, i);
        r->head[i] = (struct str){r->head_text.p + (f.p - r->record.p), f.n};
    }
    if (str_starts(r->head[0], STR_LIT("\xef\xbb\xbf"))) /* a byte order mark, as spreadsheets write */
        r->head[0] = (struct str){r->head[0].p + 3, r->head[0].n - 3};
    return !r->head_text.failed;
}

struct rows *rows_open(const char *path, bool ndjson, char delimiter)
{
    struct rows *r = calloc(1, sizeof *r);
    struct stat st;

    if (!r)
        return NULL;
    r->ndjson = ndjson;
    r->delimiter = delimiter;
    buf_init(&r->head_text, ROWS_RECORD_BYTES);
    buf_init(&r->record, ROWS_RECORD_BYTES);
    r->parser = json_parser_new();
    r->file = fopen(path, "re");
    bool good = r->file && r->parser && fstat(fileno(r->file), &st) == 0;
    if (good && S_ISDIR(st.st_mode)) { /* opens, and then reads as nothing */
        errno = EISDIR;
        good = false;
    }
    if (!good) {
        cli_error("cannot read %s: %s", path, strerror(errno));
        rows_close(r);
        return NULL;
    }
    r->size = (uint64_t)st.st_size;
    if (!ndjson && !read_head(r)) {
        cli_error("%s: the first line has no names of columns", path);
        rows_close(r);
        return NULL;
    }
    return r;
}

void rows_close(struct rows *r)
{
    if (!r)
        return;
    if (r->file)
        fclose(r->file);
    json_parser_free(r->parser);
    buf_deinit(&r->head_text);
    buf_deinit(&r->record);
    free(r);
}

static int next_line(struct rows *r, const char **why)
{
    int c = 0;

    do {
        buf_reset(&r->record);
        while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
            r->offset++;
            buf_add_char(&r->record, (char)c);
        }
        r->offset += c == '\n';
        if (c == EOF && !r->record.n)
            return ROWS_END;
        if (r->record.n && r->record.p[r->record.n - 1] == '\r')
            r->record.n--;
    } while (!r->record.n);
    r->number++;
    r->object = NULL;
    size_t n = r->record.n;
    if (r->record.failed || !buf_room(&r->record, JSON_PADDING)) {
        *why = "row_too_large";
        return ROWS_BAD;
    }
    *why = "json_invalid";
    if (json_parse(r->parser, r->record.p, n, &r->object, NULL) != JSON_OK)
        return ROWS_BAD;
    *why = "not_object";
    return r->object->type == JSON_OBJECT ? ROWS_ROW : ROWS_BAD;
}

int rows_next(struct rows *r, const char **why)
{
    if (r->ndjson)
        return next_line(r, why);
    int kind;
    do {
        kind = read_record(r, why);
    } while (kind == ROWS_ROW && r->fields == 1 && r->record.n == 0); /* blank lines */
    if (kind == ROWS_END)
        return kind;
    r->number++;
    if (kind == ROWS_ROW && r->fields != r->columns) {
        *why = "wrong_number_of_columns";
        kind = ROWS_BAD;
    }
    return kind;
}

bool rows_broken(const struct rows *r)
{
    return ferror(r->file);
}

static size_t column_index(const struct rows *r, struct str column)
{
    for (size_t i = 0; i < r->columns; i++)
        if (str_eq(r->head[i], column))
            return i;
    return SIZE_MAX;
}

bool rows_has_column(const struct rows *r, struct str column)
{
    return r->ndjson || column_index(r, column) != SIZE_MAX;
}

struct str rows_value(const struct rows *r, struct str column)
{
    if (r->ndjson) {
        char key[256];
        if (column.n >= sizeof key)
            return STR_NONE;
        memcpy(key, column.p, column.n);
        key[column.n] = '\0';
        const struct json *v = json_get(r->object, key);
        return !v || v->type == JSON_NULL ? STR_NONE : v->type == JSON_STRING ? v->text : v->raw;
    }
    size_t i = column_index(r, column);
    struct str v = i == SIZE_MAX ? STR_NONE : field_at(r, i);
    return v.n ? v : STR_NONE;
}

struct str rows_line(const struct rows *r)
{
    return r->object ? r->object->raw : STR_NONE;
}

uint32_t rows_height(const struct rows *r)
{
    return r->object ? r->object->height : 0;
}

uint64_t rows_number(const struct rows *r)
{
    return r->number;
}

uint64_t rows_offset(const struct rows *r)
{
    return r->offset;
}

uint64_t rows_size(const struct rows *r)
{
    return r->size;
}
