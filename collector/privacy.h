/* The shop's rules of privacy: which names say that a value is personal, a card's number or an address, which
 * parameters are cut from urls, what is kept of an address. Made once of the configuration. Look-ups are pure; any
 * thread. */
#ifndef WAYMARK_PRIVACY_H
#define WAYMARK_PRIVACY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/conf.h"
#include "common/str.h"
#include "common/traits_vocabulary.h"

struct user_hash;

struct privacy {
    const struct vocabulary *vocabulary;
    enum conf_ip ip;
    const struct str *cut; /* parameters, in lower case */
    size_t cut_count;
    struct user_hash *user_hash; /* a beacon's user ids need it; NULL: they do not */
};

/* What a member's name says of its value. */
enum {
    NAME_PERSONAL = 1,      /* as a trait of a person */
    NAME_PERSONAL_HERE = 2, /* wherever it stands: not a word that products, pages and programs have, too */
    NAME_CARD = 4,          /* a card or a means of payment */
    NAME_ADDRESS = 8,       /* an address on the net */
    NAME_HASH = 16,         /* userHash: a secret of the person, kept nowhere */
    NAME_QUERY = 32         /* a query without its question mark */
};

/* Names repeat from event to event: a thread remembers what it found. Zeroed at the start. */
#define MEMO_SLOTS 256
#define MEMO_NAME 22
struct name_memo {
    struct {
        unsigned char n, found;
        char name[MEMO_NAME];
    } slots[MEMO_SLOTS];
};

/* NAME_ bits. `memo` may be NULL. */
unsigned privacy_name(const struct privacy *p, struct name_memo *memo, struct str name);
/* Whether a parameter of that name is cut from urls. */
bool privacy_cuts(const struct privacy *p, struct str name);

/* The address as it may be kept: IPv4 as a.b.c.0, IPv6 as its first 48 bits, whole, or absent; a port and brackets go.
 * What is no address is absent unless addresses are kept whole. In the arena; absent when memory is out. */
struct str privacy_address(enum conf_ip how, struct str address, struct arena *a);

/* The text without the parameters that are cut, after its first ? or # (`query`: from its beginning), and without a
 * name and password before the host. The text itself when there is nothing to cut; in the arena otherwise, absent when
 * memory is out. */
struct str privacy_url(const struct privacy *p, struct str text, bool query, struct arena *a);

/* Whether some digits in the text, with the usual marks between them, are a card's full number: 13 to 19 of them whose
 * last one checks. */
bool privacy_card(struct str text);
/* Whether the text is nothing else, and begins or is written as the large networks' numbers do: not a phone, a member's
 * or an order's number. */
bool privacy_card_alone(struct str text);

#endif
