/* A person as exports see them: identifiers in their normal form, from traits. Pure but for the keys of traits. */
#ifndef WAYMARK_EXPORT_PERSON_H
#define WAYMARK_EXPORT_PERSON_H

#include "common/json.h"
#include "profiler/export_request.h"
#include "profiler/traits.h"

#define PERSON_EMAILS 2
#define PERSON_PHONES 3

/* Absent is what is not known or is no such thing. An address or a number may be a SHA-256 in hex already. */
struct export_person {
    struct str emails[PERSON_EMAILS];
    struct str phones[PERSON_PHONES]; /* E.164 */
    size_t email_count, phone_count;
    size_t phones_without_country;       /* numbers that name no country, with none configured */
    struct str first_name, last_name;    /* as stated */
    struct str city, state, zip;         /* as stated */
    char country[3];                     /* "" unknown */
    struct str birthday, gender, device; /* 19900501; m or f; advertising id */
};

/* 0 or -ENOMEM. Texts lie in the arena. */
int export_person_read(const struct traits *t, const struct traits_rules *r, const char *country,
                       struct json_parser *parser, struct arena *a, struct export_person *out);
/* The text of a JSON string, or the value as it is written; absent for null and when memory is out. */
struct str export_json_text(struct str json, struct json_parser *parser, struct arena *a);

#endif
