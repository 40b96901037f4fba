/* Identifiers of a person from the traits of the vocabulary. Pure but for the keys of traits; the export's thread. */
#include "profiler/export_person.h"

#include <errno.h>

#include "common/limits.h"
#include "profiler/export_hash.h"
#include "profiler/export_text.h"

enum wanted {
    WANT_EMAIL,
    WANT_WORK_EMAIL,
    WANT_PHONE,
    WANT_HOME_PHONE,
    WANT_WORK_PHONE,
    WANT_FIRST_NAME,
    WANT_LAST_NAME,
    WANT_NAME,
    WANT_COUNTRY,
    WANT_STATE,
    WANT_CITY,
    WANT_ZIP,
    WANT_ADDRESS,
    WANT_BIRTHDAY,
    WANT_GENDER,
    WANT_DEVICE,
    WANT_DEVICE_TOO,
    WANTED
};

static const struct str names[WANTED] = {
    [WANT_EMAIL] = STR_LIT("email"),
    [WANT_WORK_EMAIL] = STR_LIT("work_email"),
    [WANT_PHONE] = STR_LIT("phone"),
    [WANT_HOME_PHONE] = STR_LIT("home_phone"),
    [WANT_WORK_PHONE] = STR_LIT("work_phone"),
    [WANT_FIRST_NAME] = STR_LIT("first_name"),
    [WANT_LAST_NAME] = STR_LIT("last_name"),
    [WANT_NAME] = STR_LIT("name"),
    [WANT_COUNTRY] = STR_LIT("country"),
    [WANT_STATE] = STR_LIT("province"),
    [WANT_CITY] = STR_LIT("city"),
    [WANT_ZIP] = STR_LIT("postal_code"),
    [WANT_ADDRESS] = STR_LIT("address"),
    [WANT_BIRTHDAY] = STR_LIT("birthday"),
    [WANT_GENDER] = STR_LIT("gender"),
    [WANT_DEVICE] = STR_LIT("advertising_id"),
    [WANT_DEVICE_TOO] = STR_LIT("madid"),
};

static const struct json *parse(struct str json, struct json_parser *parser, struct arena *a)
{
    char *copy = arena_alloc(a, json.n + JSON_PADDING);
    const struct json *root;
    struct err e;

    if (!copy)
        return NULL;
    memcpy(copy, json.p, json.n);
    memset(copy + json.n, 0, JSON_PADDING);
    return json_parse(parser, copy, json.n, &root, &e) == JSON_OK ? root : NULL;
}

struct str export_json_text(struct str json, struct json_parser *parser, struct arena *a)
{
    const struct json *v;

    if (json.n == 0 || str_is(json, "null"))
        return STR_NONE;
    if (json.p[0] != '"')
        return json;
    if (json.n >= 2 && !memchr(json.p, '\\', json.n))
        return (struct str){json.p + 1, json.n - 2};
    v = parse(json, parser, a);
    return v && v->type == JSON_STRING ? arena_dup(a, v->text) : STR_NONE;
}

static void add(struct str *to, size_t *n, size_t most, struct str v)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq(to[i], v))
            return;
    if (str_has(v) && *n < most)
        to[(*n)++] = v;
}

static struct str hashed_or(struct str v, struct str normal, struct arena *a)
{
    return export_hashed(text_trim(v)) ? normal_lower(v, a) : normal;
}

static void read_contacts(const struct str *v, const char *country, struct arena *a, struct export_person *out)
{
    for (int i = WANT_EMAIL; i <= WANT_WORK_EMAIL; i++)
        if (str_has(v[i]))
            add(out->emails, &out->email_count, PERSON_EMAILS, hashed_or(v[i], normal_email(v[i], a), a));
    for (int i = WANT_PHONE; i <= WANT_WORK_PHONE; i++) {
        struct str phone = str_has(v[i]) ? hashed_or(v[i], normal_phone(v[i], country, a), a) : STR_NONE;

        add(out->phones, &out->phone_count, PERSON_PHONES, phone);
        /* a number that any country would make one */
        if (str_has(v[i]) && !str_has(phone) && !*country && str_has(normal_phone(v[i], "DE", a)))
            out->phones_without_country++;
    }
}

/* Where only the whole name is stated: its first word, and what follows. */
static void split_name(struct str name, struct export_person *out)
{
    name = text_trim(name);
    const char *space = name.n ? memchr(name.p, ' ', name.n) : NULL;

    if (!space || str_has(out->first_name) || str_has(out->last_name))
        return;
    out->first_name = (struct str){name.p, (size_t)(space - name.p)};
    out->last_name = text_trim((struct str){space, (size_t)(name.p + name.n - space)});
}

static void from_address(const struct json *address, const char *key, struct str *to, struct arena *a)
{
    const struct json *v = json_get(address, key);

    if (!str_has(*to) && v && (v->type == JSON_STRING || v->type == JSON_NUMBER))
        *to = arena_dup(a, v->text);
}

static void read_places(struct str *v, struct str address, struct json_parser *parser, struct arena *a,
                        struct export_person *out)
{
    const struct json *o = address.n && address.p[0] == '{' ? parse(address, parser, a) : NULL;

    if (o) {
        from_address(o, "city", &v[WANT_CITY], a);
        from_address(o, "province", &v[WANT_STATE], a);
        from_address(o, "state", &v[WANT_STATE], a);
        from_address(o, "postal_code", &v[WANT_ZIP], a);
        from_address(o, "country", &v[WANT_COUNTRY], a);
    }
    out->city = v[WANT_CITY];
    out->state = v[WANT_STATE];
    out->zip = v[WANT_ZIP];
    const char *country = normal_country(v[WANT_COUNTRY]);
    memcpy(out->country, country, strlen(country) + 1);
}

int export_person_read(const struct traits *t, const struct traits_rules *r, const char *country,
                       struct json_parser *parser, struct arena *a, struct export_person *out)
{
    struct str v[WANTED], address;
    int rc = traits_values(t, r, names, WANTED, a, v);

    *out = (struct export_person){.email_count = 0};
    if (rc < 0)
        return rc;
    address = v[WANT_ADDRESS];
    for (int i = 0; i < WANTED; i++)
        v[i] = export_json_text(v[i], parser, a);
    read_contacts(v, country, a, out);
    out->first_name = v[WANT_FIRST_NAME];
    out->last_name = v[WANT_LAST_NAME];
    split_name(v[WANT_NAME], out);
    read_places(v, address, parser, a, out);
    out->birthday = normal_birthday(v[WANT_BIRTHDAY], a);
    out->gender = normal_gender(v[WANT_GENDER], a);
    out->device = normal_device(str_has(v[WANT_DEVICE]) ? v[WANT_DEVICE] : v[WANT_DEVICE_TOO], a);
    return 0;
}
