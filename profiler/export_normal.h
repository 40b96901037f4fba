/* Identifiers as ad networks want them before they are hashed (Google Customer Match, Meta Custom Audiences) and as a
 * mail or call centre dials them. Pure: what is given is UTF-8 text, what comes out lies in the arena; absent when the
 * text is no such thing, or memory is out. */
#ifndef WAYMARK_EXPORT_NORMAL_H
#define WAYMARK_EXPORT_NORMAL_H

#include "common/arena.h"
#include "common/str.h"

/* What is done to addresses of gmail.com and googlemail.com alone, which Google reads without dots and tags. */
enum gmail_mode { GMAIL_NONE, GMAIL_DOTS, GMAIL_DOTS_TAG };
extern const char *const gmail_mode_names[3];

/* Lower case without any white space; it must have something before the @ and a domain with a dot behind it. */
struct str normal_email(struct str s, struct arena *a);
/* Of a normal address. The same where it is of another domain. */
struct str normal_gmail(struct str email, enum gmail_mode mode, struct arena *a);

/* E.164: +442079460958. `country` (ISO 3166, two letters, "" none) is whose number it is when it names none. */
struct str normal_phone(struct str s, const char *country, struct arena *a);
/* Of such a number, as Meta wants it: 442079460958. */
struct str normal_phone_digits(struct str e164);

/* First and last names for Google: lower case, trimmed, without a title before or a suffix behind. */
struct str normal_first_name(struct str s, struct arena *a);
struct str normal_last_name(struct str s, struct arena *a);
/* Names for Meta: lower case, no punctuation. */
struct str normal_name_letters(struct str s, struct arena *a);
/* Cities, and states outside the US: lower case, letters only. */
struct str normal_letters(struct str s, struct arena *a);
/* Lower case; of a country that is `US` the two letters, also for the full name. */
struct str normal_state(struct str s, const char *country, struct arena *a);

/* Two capital letters of a code (of two or three letters) or an English name; "" when it is not known. */
const char *normal_country(struct str s);
/* No spaces, capital letters; in the US five digits, or nine with a dash. */
struct str normal_zip(struct str s, const char *country, struct arena *a);
/* No spaces, lower case; in the US the first five, in the UK without the last two letters (area, district, sector). */
struct str normal_zip_short(struct str s, const char *country, struct arena *a);

/* "m", "f" or absent. */
struct str normal_gender(struct str s, struct arena *a);
/* 19900501 of a day as YYYY-MM-DD, with or without a time behind it. */
struct str normal_birthday(struct str s, struct arena *a);
/* An advertising id: lower case, its dashes kept; not one of zeros only. */
struct str normal_device(struct str s, struct arena *a);
/* Lower case of the scripts that have one; other characters as they are. */
struct str normal_lower(struct str s, struct arena *a);

/* --- countries (export_country.c) ------------------------------------------------------------------------------- */

struct export_country {
    char iso2[3], iso3[4];
    const char *code;          /* after the + */
    const char *trunk;         /* dialled before a national number; "" none */
    unsigned char least, most; /* digits of a national number, without the trunk's */
    const char *name;
};
/* By a code of two letters; NULL: none. */
const struct export_country *export_country(const char *iso2);
/* By any code or name. */
const struct export_country *export_country_named(struct str s);

#endif
