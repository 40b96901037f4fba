/* Identifiers as ad networks want them. What is not said by a network's own page is read as its users' data is: a
 * number with (0), a name with a title. Pure; any thread. */
#include "profiler/export_normal.h"

#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/export_text.h"

const char *const gmail_mode_names[3] = {"none", "dots", "dots+tag"};

#define COUNT(v) (sizeof(v) / sizeof *(v))
#define E164_DIGITS 15
#define E164_LEAST 7

enum keep { KEEP_ALL = 0, DROP_BLANKS = 1, DROP_PUNCTUATION = 2, DROP_DIGITS = 4, ONE_BLANK = 8 };

/* The text in lower case without what is to be dropped; white space around it always is. */
static struct str lowered(struct str s, unsigned how, struct arena *a)
{
    struct text t;
    bool gap = false;
    size_t n;

    s = text_trim(s);
    if (s.n == 0 || s.n > LIMIT_EXPORT_VALUE)
        return STR_NONE;
    t = text_begin(a, s.n);
    for (; s.n > 0; s = (struct str){s.p + n, s.n - n}) {
        uint32_t c = text_char(s, &n);

        if (text_blank(c) && (how & (DROP_BLANKS | ONE_BLANK))) {
            gap = !(how & DROP_BLANKS);
            continue;
        }
        if ((text_punctuation(c) && (how & DROP_PUNCTUATION)) || (text_digit(c) && (how & DROP_DIGITS)))
            continue;
        if (gap && t.n > 0)
            text_put(&t, ' ');
        gap = false;
        text_put(&t, text_lower(c));
    }
    return text_end(&t);
}

struct str normal_lower(struct str s, struct arena *a)
{
    return lowered(s, KEEP_ALL, a);
}

/* --- addresses ------------------------------------------------------------------------------------------------- */

/* The domain of an address; absent when it is none. */
static struct str domain_of(struct str s)
{
    const char *at = s.n ? memrchr(s.p, '@', s.n) : NULL;

    if (!at || at == s.p || memchr(s.p, '@', (size_t)(at - s.p)))
        return STR_NONE;
    return (struct str){at + 1, (size_t)(s.p + s.n - at) - 1};
}

static bool good_domain(struct str d)
{
    const char *dot = d.n ? memrchr(d.p, '.', d.n) : NULL;

    return dot && d.p[0] != '.' && dot + 1 < d.p + d.n;
}

struct str normal_email(struct str s, struct arena *a)
{
    struct str email = lowered(s, DROP_BLANKS, a);

    for (size_t i = 0; i < email.n; i++)
        if ((unsigned char)email.p[i] < 0x20 || email.p[i] == 0x7f || strchr(",;<>\"", email.p[i]))
            return STR_NONE;
    return email.n <= 320 && good_domain(domain_of(email)) ? email : STR_NONE;
}

struct str normal_gmail(struct str email, enum gmail_mode mode, struct arena *a)
{
    struct str domain = domain_of(email);
    struct text t;

    if (mode == GMAIL_NONE || !(str_is(domain, "gmail.com") || str_is(domain, "googlemail.com")))
        return email;
    size_t local = email.n - domain.n - 1;
    t = text_begin(a, email.n);
    for (size_t i = 0; i < local && !(email.p[i] == '+' && mode == GMAIL_DOTS_TAG); i++)
        if (email.p[i] != '.')
            text_put(&t, (unsigned char)email.p[i]);
    if (t.n == 0)
        return email;
    for (size_t i = local; i < email.n; i++)
        text_put(&t, (unsigned char)email.p[i]);
    return text_end(&t);
}

/* --- telephone numbers ------------------------------------------------------------------------------------------ */

struct digits {
    char d[32];
    size_t n;
    bool plus;
};

/* What was dialled: digits, and whether a + stood before them. False for what is no number. An extension is cut off. */
static bool read_digits(struct str s, struct digits *out)
{
    size_t n;

    *out = (struct digits){.n = 0};
    for (; s.n > 0; s = (struct str){s.p + n, s.n - n}) {
        uint32_t c = text_char(s, &n);

        if (c >= 0xff10 && c <= 0xff19)
            c = c - 0xff10 + '0';
        if (c == '+' || c == 0xff0b) {
            if (out->n > 0 || out->plus)
                return false;
            out->plus = true;
        } else if (text_digit(c)) {
            if (out->n == sizeof out->d)
                return false;
            /* +44 (0)20: the zero is dialled at home only */
            if (c == '0' && out->plus && out->n > 0 && s.n > 1 && s.p[1] == ')' && s.p[-1] == '(')
                continue;
            out->d[out->n++] = (char)c;
        } else if (out->n > 0 && (c == 'x' || c == 'X' || c == '#' || c == ';' || c == ',' ||
                                  (s.n >= 3 && strncasecmp(s.p, "ext", 3) == 0))) {
            return true;
        } else if (!text_blank(c) && !text_punctuation(c)) {
            return false;
        }
    }
    return out->n > 0;
}

static void drop(struct digits *d, size_t n)
{
    memmove(d->d, d->d + n, d->n - n);
    d->n -= n;
}

static bool begins(const struct digits *d, const char *with)
{
    size_t n = strlen(with);

    return n > 0 && d->n > n && memcmp(d->d, with, n) == 0;
}

/* From a number as it is dialled in the country. */
static bool national(struct digits *d, const struct export_country *c)
{
    if (begins(d, c->trunk))
        drop(d, strlen(c->trunk));
    else if (begins(d, c->code) && d->n > c->most)
        drop(d, strlen(c->code));
    if (d->n < c->least || d->n > c->most)
        return false;
    size_t code = strlen(c->code);
    memmove(d->d + code, d->d, d->n);
    memcpy(d->d, c->code, code);
    d->n += code;
    return true;
}

static bool international(struct digits *d, const struct export_country *home)
{
    if (d->plus)
        return true;
    if (home && strcmp(home->code, "1") == 0 && begins(d, "011")) {
        drop(d, 3);
        return true;
    }
    if (begins(d, "00")) {
        drop(d, 2);
        return true;
    }
    return home && national(d, home);
}

struct str normal_phone(struct str s, const char *country, struct arena *a)
{
    const struct export_country *home = export_country(country);
    struct digits d;
    char *p;

    if (s.n > 100 || !read_digits(text_trim(s), &d) || d.n > E164_DIGITS + 3 || !international(&d, home) ||
        d.n < E164_LEAST || d.n > E164_DIGITS || d.d[0] == '0')
        return STR_NONE;
    p = arena_alloc(a, d.n + 1);
    if (!p)
        return STR_NONE;
    p[0] = '+';
    memcpy(p + 1, d.d, d.n);
    return (struct str){p, d.n + 1};
}

struct str normal_phone_digits(struct str e164)
{
    return e164.n > 1 ? (struct str){e164.p + 1, e164.n - 1} : STR_NONE;
}

/* --- names ------------------------------------------------------------------------------------------------------ */

/* Whether a word is one of the list, with or without a dot behind it. */
static bool is_one(struct str word, const char *const *list, size_t n)
{
    while (word.n > 0 && (word.p[word.n - 1] == '.' || word.p[word.n - 1] == ','))
        word.n--;
    for (size_t i = 0; i < n; i++)
        if (str_is(word, list[i]))
            return true;
    return false;
}

struct str normal_first_name(struct str s, struct arena *a)
{
    static const char *const titles[] = {"mr",   "mrs", "ms",   "miss", "mx",  "dr",
                                         "prof", "sir", "herr", "frau", "mme", "m"};
    struct str name = lowered(s, ONE_BLANK, a);
    const char *space = name.n ? memchr(name.p, ' ', name.n) : NULL;

    if (space && is_one((struct str){name.p, (size_t)(space - name.p)}, titles, COUNT(titles)))
        name = (struct str){space + 1, (size_t)(name.p + name.n - space) - 1};
    return name;
}

struct str normal_last_name(struct str s, struct arena *a)
{
    static const char *const suffixes[] = {"jr", "sr", "ii", "iii", "iv", "phd", "ph.d", "md", "m.d", "esq"};
    struct str name = lowered(s, ONE_BLANK, a);
    const char *space = name.n ? memrchr(name.p, ' ', name.n) : NULL;

    if (space && is_one((struct str){space + 1, (size_t)(name.p + name.n - space) - 1}, suffixes, COUNT(suffixes)))
        name.n = (size_t)(space - name.p);
    while (name.n > 0 && name.p[name.n - 1] == ',')
        name.n--;
    return name.n ? name : STR_NONE;
}

struct str normal_name_letters(struct str s, struct arena *a)
{
    return lowered(s, ONE_BLANK | DROP_PUNCTUATION, a);
}

struct str normal_letters(struct str s, struct arena *a)
{
    return lowered(s, DROP_BLANKS | DROP_PUNCTUATION | DROP_DIGITS, a);
}

/* --- places ----------------------------------------------------------------------------------------------------- */

const char *normal_country(struct str s)
{
    const struct export_country *c = export_country_named(text_trim(s));

    return c ? c->iso2 : "";
}

static struct str state_code(struct str name)
{
    static const char *const states[][2] = {
        {"alabama", "al"},       {"alaska", "ak"},        {"arizona", "az"},
        {"arkansas", "ar"},      {"california", "ca"},    {"colorado", "co"},
        {"connecticut", "ct"},   {"delaware", "de"},      {"districtofcolumbia", "dc"},
        {"florida", "fl"},       {"georgia", "ga"},       {"hawaii", "hi"},
        {"idaho", "id"},         {"illinois", "il"},      {"indiana", "in"},
        {"iowa", "ia"},          {"kansas", "ks"},        {"kentucky", "ky"},
        {"louisiana", "la"},     {"maine", "me"},         {"maryland", "md"},
        {"massachusetts", "ma"}, {"michigan", "mi"},      {"minnesota", "mn"},
        {"mississippi", "ms"},   {"missouri", "mo"},      {"montana", "mt"},
        {"nebraska", "ne"},      {"nevada", "nv"},        {"newhampshire", "nh"},
        {"newjersey", "nj"},     {"newmexico", "nm"},     {"newyork", "ny"},
        {"northcarolina", "nc"}, {"northdakota", "nd"},   {"ohio", "oh"},
        {"oklahoma", "ok"},      {"oregon", "or"},        {"pennsylvania", "pa"},
        {"rhodeisland", "ri"},   {"southcarolina", "sc"}, {"southdakota", "sd"},
        {"tennessee", "tn"},     {"texas", "tx"},         {"utah", "ut"},
        {"vermont", "vt"},       {"virginia", "va"},      {"washington", "wa"},
        {"westvirginia", "wv"},  {"wisconsin", "wi"},     {"wyoming", "wy"},
        {"puertorico", "pr"}};

    for (size_t i = 0; i < COUNT(states); i++)
        if (str_is(name, states[i][0]) || str_is(name, states[i][1]))
            return str_of(states[i][1]);
    return STR_NONE;
}

struct str normal_state(struct str s, const char *country, struct arena *a)
{
    struct str name = normal_letters(s, a);

    if (strcmp(country, "US") != 0)
        return name;
    return state_code(name);
}

static size_t leading_digits(struct str s)
{
    size_t n = 0;

    while (n < s.n && text_digit((unsigned char)s.p[n]))
        n++;
    return n;
}

static struct str in_case(struct str s, struct arena *a, bool capital)
{
    struct str v = lowered(s, DROP_BLANKS, a);

    for (size_t i = 0; capital && i < v.n; i++)
        if (v.p[i] >= 'a' && v.p[i] <= 'z')
            ((char *)(uintptr_t)v.p)[i] = (char)(v.p[i] - 32); /* ours, in the arena */
    return v.n > 0 && v.n <= 20 ? v : STR_NONE;
}

struct str normal_zip(struct str s, const char *country, struct arena *a)
{
    struct str v = in_case(s, a, true);

    if (strcmp(country, "US") != 0)
        return v;
    size_t n = leading_digits(v);
    if (n == 5 && v.n == 10 && v.p[5] == '-' && leading_digits((struct str){v.p + 6, 4}) == 4)
        return v;
    return n == 5 && v.n == 5 ? v : n == 9 && v.n == 9 ? (struct str){v.p, 5} : STR_NONE;
}

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

struct str normal_zip_short(struct str s, const char *country, struct arena *a)
{
    struct str v = in_case(s, a, false);

    if (strcmp(country, "US") == 0)
        return leading_digits(v) >= 5 ? (struct str){v.p, 5} : STR_NONE;
    if (strcmp(country, "GB") == 0 && v.n >= 5 && is_letter(v.p[v.n - 1]) && is_letter(v.p[v.n - 2]) &&
        text_digit((unsigned char)v.p[v.n - 3]))
        v.n -= 2;
    return v;
}

/* --- the rest --------------------------------------------------------------------------------------------------- */

struct str normal_gender(struct str s, struct arena *a)
{
    static const char *const male[] = {"m", "male", "man", "mr", "männlich", "homme", "男", "男性"};
    static const char *const female[] = {"f", "female", "woman", "w", "weiblich", "femme", "女", "女性"};
    struct str v = normal_lower(s, a);

    if (!str_has(v))
        return STR_NONE;
    if (is_one(v, male, COUNT(male)))
        return STR_LIT("m");
    return is_one(v, female, COUNT(female)) ? STR_LIT("f") : STR_NONE;
}

struct str normal_birthday(struct str s, struct arena *a)
{
    int64_t day;
    char *p;

    s = text_trim(s);
    if (s.n < 10 || s.p[4] != '-' || s.p[7] != '-' || time_parse((struct str){s.p, 10}, &day) != 0)
        return STR_NONE;
    p = arena_alloc(a, 8);
    if (!p)
        return STR_NONE;
    memcpy(p, s.p, 4);
    memcpy(p + 4, s.p + 5, 2);
    memcpy(p + 6, s.p + 8, 2);
    return (struct str){p, 8};
}

struct str normal_device(struct str s, struct arena *a)
{
    struct str v = lowered(s, DROP_BLANKS, a);
    bool some = false;

    for (size_t i = 0; i < v.n; i++) {
        if (!text_digit((unsigned char)v.p[i]) && v.p[i] != '-' && !(v.p[i] >= 'a' && v.p[i] <= 'f'))
            return STR_NONE;
        some |= v.p[i] != '0' && v.p[i] != '-';
    }
    return v.n == 36 && some ? v : STR_NONE;
}
