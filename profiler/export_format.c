/* What the formats share, and free lists: csv and ndjson. Pure; the export's thread. */
#include "profiler/export_format.h"

#include <assert.h>

#include "profiler/export_format_inside.h"
#include "profiler/export_text.h"

const char *const export_identifier_names[EXPORT_IDENTIFIERS] = {"email", "phone", "address", "device"};

bool export_is_network(const struct export_request *r)
{
    return r->kind == EXPORT_GOOGLE || r->kind == EXPORT_META;
}

const char *export_content_type(enum export_kind kind)
{
    return kind == EXPORT_NDJSON ? "application/x-ndjson" : "text/csv; charset=utf-8";
}

const char *export_extension(enum export_kind kind)
{
    return kind == EXPORT_NDJSON ? "ndjson" : "csv";
}

/* --- csv ------------------------------------------------------------------------------------------------------- */

/* A number that is dialled: + and digits, which no program takes for more than a number. */
static bool is_dialled(struct str s)
{
    for (size_t i = 1; i < s.n; i++)
        if (!text_digit((unsigned char)s.p[i]))
            return false;
    return s.n > 1 && s.n <= 16 && s.p[0] == '+';
}

static bool is_formula(struct str s)
{
    return s.n > 0 && s.p[0] && strchr("=+-@\t\r", s.p[0]) && !is_dialled(s);
}

bool export_csv_cell(struct buf *b, struct str s, bool guard)
{
    bool formula = guard && is_formula(s), quote = formula;

    for (size_t i = 0; i < s.n && !quote; i++)
        quote = s.p[i] && strchr(",\"\r\n", s.p[i]);
    if (!quote)
        return buf_add_str(b, s);
    buf_add_char(b, '"');
    if (formula)
        buf_add_char(b, '\'');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_add_char(b, '"');
        buf_add_char(b, s.p[i]);
    }
    return buf_add_char(b, '"');
}

bool export_line_csv(const struct export_request *r, const struct str *cells, struct json_parser *parser,
                     struct arena *a, struct buf *b)
{
    for (size_t i = 0; i < r->column_count; i++) {
        bool text = cells[i].n > 0 && cells[i].p[0] == '"';

        if (i > 0)
            buf_add_char(b, ',');
        export_csv_cell(b, export_json_text(cells[i], parser, a), text);
    }
    return !b->failed;
}

static void csv_head(const struct export_request *r, struct buf *b)
{
    if (r->delta)
        buf_add_text(b, "action,key,");
    for (size_t i = 0; i < r->column_count; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        export_csv_cell(b, r->columns[i].head, true);
    }
}

static void csv_row(const struct export_request *r, struct str line, bool remove, const char *key, struct buf *b)
{
    if (r->delta)
        buf_addf(b, "%s,%s,", remove ? "remove" : "add", key);
    if (!remove)
        buf_add_str(b, line);
    for (size_t i = 1; remove && i < r->column_count; i++)
        buf_add_char(b, ',');
    buf_add_text(b, "\r\n");
}

/* --- ndjson ---------------------------------------------------------------------------------------------------- */

/* Members without the braces. */
bool export_line_ndjson(const struct export_request *r, const struct str *cells, struct buf *b)
{
    for (size_t i = 0; i < r->column_count; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        json_write_str(b, r->columns[i].head);
        buf_add_char(b, ':');
        buf_add_str(b, cells[i].n ? cells[i] : STR_LIT("null"));
    }
    return !b->failed;
}

static void ndjson_row(const struct export_request *r, struct str line, bool remove, const char *key, struct buf *b)
{
    buf_add_char(b, '{');
    if (r->delta)
        buf_addf(b, "\"action\":\"%s\",\"key\":\"%s\"%s", remove ? "remove" : "add", key, remove ? "" : ",");
    if (!remove)
        buf_add_str(b, line);
    buf_add_text(b, "}\n");
}

/* --- all ------------------------------------------------------------------------------------------------------- */

bool export_head(const struct export_request *r, struct buf *b)
{
    if (r->kind == EXPORT_NDJSON)
        return true;
    if (r->kind == EXPORT_CSV)
        csv_head(r, b);
    else
        export_network_head(r, b);
    return buf_add_text(b, "\r\n");
}

bool export_row(const struct export_request *r, struct str line, bool remove, const char *key, struct buf *b)
{
    assert(!remove || r->delta);
    if (r->kind == EXPORT_CSV) {
        csv_row(r, line, remove, key, b);
    } else if (r->kind == EXPORT_NDJSON) {
        ndjson_row(r, line, remove, key, b);
    } else {
        buf_add_str(b, line);
        if (r->delta)
            buf_add_text(b, remove ? ",remove" : ",add");
        buf_add_text(b, "\r\n");
    }
    return !b->failed;
}
