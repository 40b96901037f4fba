/* Lines for Google Customer Match and Meta Custom Audiences: each value in the network's normal form, then SHA-256 in
 * lower-case hex; never of nothing, never twice. Pure; the export's thread. */
#include <assert.h>

#include "profiler/export_format_inside.h"
#include "profiler/export_hash.h"

#define GOOGLE_EMAILS 3
#define GOOGLE_PHONES 2
/* Columns that alone say who it is, and all of them, without value and action. */
#define GOOGLE_DIRECT (GOOGLE_EMAILS + GOOGLE_PHONES)
#define GOOGLE_COLUMNS (GOOGLE_DIRECT + 4)
#define META_DIRECT (PERSON_EMAILS + PERSON_PHONES + 1)
#define META_COLUMNS (META_DIRECT + 8)

static_assert(GOOGLE_PHONES <= PERSON_PHONES, "a number for each column");

void export_network_head(const struct export_request *r, struct buf *b)
{
    if (r->kind == EXPORT_GOOGLE)
        buf_add_text(b, "Email,Email,Email,Phone,Phone,First Name,Last Name,Country,Zip");
    else
        buf_add_text(b, "email,email,phone,phone,phone,madid,fn,ln,zip,ct,st,country,doby,gen");
    if (r->value)
        buf_add_text(b, ",value");
    if (r->delta)
        buf_add_text(b, ",action");
}

/* A cell behind the one before it. */
static void hashed(struct buf *b, struct str v, bool first)
{
    char hex[EXPORT_HEX + 1];

    if (!first)
        buf_add_char(b, ',');
    if (export_sha256(v, hex))
        buf_add(b, hex, EXPORT_HEX);
}

static void plain(struct buf *b, struct str v)
{
    buf_add_char(b, ',');
    export_csv_cell(b, v, false);
}

/* --- Google ---------------------------------------------------------------------------------------------------- */

/* Each address as it is and, of gmail.com, as Google reads it: its pages do not agree which. */
static size_t google_emails(const struct export_person *p, enum gmail_mode mode, struct arena *a,
                            struct str out[GOOGLE_EMAILS])
{
    size_t n = 0;

    for (size_t i = 0; i < p->email_count && n < GOOGLE_EMAILS; i++) {
        struct str also = normal_gmail(p->emails[i], mode, a);

        out[n++] = p->emails[i];
        if (!str_eq(also, p->emails[i]) && n < GOOGLE_EMAILS)
            out[n++] = also;
    }
    return n;
}

/* An address matches with all four of its parts only. */
static bool google_address(const struct export_person *p, struct arena *a, struct str out[4])
{
    out[0] = normal_first_name(p->first_name, a);
    out[1] = normal_last_name(p->last_name, a);
    out[2] = str_of(p->country);
    out[3] = normal_zip(p->zip, p->country, a);
    for (int i = 0; i < 4; i++)
        if (out[i].n == 0) {
            out[0] = out[1] = out[2] = out[3] = STR_NONE;
            return false;
        }
    return true;
}

bool export_line_google(const struct export_person *p, const struct export_request *r, struct arena *a, struct buf *b,
                        unsigned *found)
{
    struct str emails[GOOGLE_EMAILS] = {STR_NONE}, address[4];
    size_t n = google_emails(p, r->gmail, a, emails);

    *found = (n ? 1u << BY_EMAIL : 0) | (p->phone_count ? 1u << BY_PHONE : 0);
    if (google_address(p, a, address))
        *found |= 1u << BY_ADDRESS;
    for (size_t i = 0; i < GOOGLE_EMAILS; i++)
        hashed(b, i < n ? emails[i] : STR_NONE, i == 0);
    for (size_t i = 0; i < GOOGLE_PHONES; i++)
        hashed(b, i < p->phone_count ? p->phones[i] : STR_NONE, false);
    hashed(b, address[0], false);
    hashed(b, address[1], false);
    plain(b, address[2]);
    plain(b, address[3]);
    return !b->failed;
}

/* --- Meta ------------------------------------------------------------------------------------------------------ */

static struct str year(const struct export_person *p)
{
    return p->birthday.n >= 4 ? (struct str){p->birthday.p, 4} : STR_NONE;
}

static struct str digits(struct str phone)
{
    return export_hashed(phone) ? phone : normal_phone_digits(phone);
}

bool export_line_meta(const struct export_person *p, const struct export_request *r, struct str value, struct arena *a,
                      struct buf *b, unsigned *found)
{
    struct str fn = normal_name_letters(normal_first_name(p->first_name, a), a);
    struct str ln = normal_name_letters(normal_last_name(p->last_name, a), a);
    struct str zip = normal_zip_short(p->zip, p->country, a);

    *found = (p->email_count ? 1u << BY_EMAIL : 0) | (p->phone_count ? 1u << BY_PHONE : 0) |
             (str_has(p->device) ? 1u << BY_DEVICE : 0);
    if (str_has(fn) && str_has(ln) && str_has(zip) && *p->country)
        *found |= 1u << BY_ADDRESS;
    for (size_t i = 0; i < PERSON_EMAILS; i++)
        hashed(b, i < p->email_count ? normal_gmail(p->emails[i], r->gmail, a) : STR_NONE, i == 0);
    for (size_t i = 0; i < PERSON_PHONES; i++)
        hashed(b, i < p->phone_count ? digits(p->phones[i]) : STR_NONE, false);
    plain(b, p->device);
    hashed(b, fn, false);
    hashed(b, ln, false);
    hashed(b, zip, false);
    hashed(b, normal_letters(p->city, a), false);
    hashed(b, normal_state(p->state, p->country, a), false);
    hashed(b, normal_lower(str_of(p->country), a), false);
    hashed(b, year(p), false);
    hashed(b, p->gender, false);
    if (r->value)
        plain(b, value);
    return !b->failed;
}

/* --- removal --------------------------------------------------------------------------------------------------- */

bool export_line_least(const struct export_request *r, struct str line, struct buf *b)
{
    size_t direct = r->kind == EXPORT_GOOGLE ? GOOGLE_DIRECT : META_DIRECT;
    size_t all = (r->kind == EXPORT_GOOGLE ? GOOGLE_COLUMNS : META_COLUMNS) + r->value, commas = 0, n = 0;
    bool any = false;

    assert(export_is_network(r));
    for (; n < line.n && commas < direct; n++) {
        any |= line.p[n] != ',';
        commas += line.p[n] == ',';
    }
    if (!any)
        return buf_add_str(b, line);
    buf_add(b, line.p, n); /* with the comma behind them */
    for (size_t i = direct + 1; i < all; i++)
        buf_add_char(b, ',');
    return !b->failed;
}
