/* What names say of values, and addresses on the net. Pure; any thread. */
#include "collector/privacy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

/* --- names ----------------------------------------------------------------------------------------------------- */

#define WORD_BYTES 64

/* In lower case without what stands between words, as far as it fits. */
static size_t word_of(struct str name, char out[WORD_BYTES + 1])
{
    size_t n = 0;

    for (size_t i = 0; i < name.n && n < WORD_BYTES; i++) {
        char c = name.p[i];
        if (c >= 'A' && c <= 'Z')
            out[n++] = (char)(c + 32);
        else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80)
            out[n++] = c;
    }
    out[n] = '\0';
    return n;
}

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words && strcmp(word, *words) != 0)
        words++;
    return *words != NULL;
}

static bool has_one_of(const char *word, const char *const *words)
{
    while (*words && !strstr(word, *words))
        words++;
    return *words != NULL;
}

/* Cards that pay nothing have numbers of the same length. */
static bool is_card_word(const char *word)
{
    static const char *const other[] = {"idcard", "identity", "student", "member", "loyalty", "simcard", NULL};
    static const char *const exact[] = {"pan", "cc", "ccn", "ccnumber", "ccnum", "ccno", NULL};
    static const char *const inside[] = {"card", "kreditkarte", "银行卡", "信用卡", "卡号", NULL};

    return is_one_of(word, exact) || (has_one_of(word, inside) && !has_one_of(word, other));
}

/* Names of persons' traits that products, pages, places and programs have as well. */
static bool is_common_word(const char *word)
{
    static const char *const words[] = {"name",     "displayname", "description", "about",         "bio",
                                        "avatar",   "avatarurl",   "photo",       "picture",       "line",
                                        "bank",     "school",      "credit",      "paymentmethod", "paymentmethods",
                                        "cardtype", "cardbrand",   NULL};
    return is_one_of(word, words);
}

/* A kind like the name, which is no property of a person where it goes by that word, has words that only persons have.
 */
static bool is_personal_here(const struct trait_kind *kind, const char *word)
{
    static const char *const words[] = {"fullname", "realname", "姓名", NULL};

    return (kind->in_properties && !is_common_word(word)) || is_one_of(word, words);
}

static unsigned name_look(const struct privacy *p, struct str name)
{
    static const char *const addresses[] = {"ip",   "ipaddress", "clientip",      "userip", "remoteip", "remoteaddr",
                                            "ipv4", "ipv6",      "xforwardedfor", "ipaddr", NULL};
    static const char *const hashes[] = {"userhash", NULL};
    static const char *const queries[] = {"search", "query", "querystring", NULL};
    const struct trait_kind *kind = traits_find(p->vocabulary, name);
    char word[WORD_BYTES + 1];
    unsigned found = 0;

    word_of(name, word);
    if (kind && kind->personal)
        found |= NAME_PERSONAL | (is_personal_here(kind, word) ? NAME_PERSONAL_HERE : 0);
    if (strcmp(word, "externalids") == 0) /* in Segment's context: addresses and numbers under names of their own */
        found |= NAME_PERSONAL | NAME_PERSONAL_HERE;
    if ((kind && kind->group == TRAITS_PAYMENT) || is_card_word(word))
        found |= NAME_CARD;
    if (is_one_of(word, addresses))
        found |= NAME_ADDRESS;
    if (is_one_of(word, hashes))
        found |= NAME_HASH;
    if (is_one_of(word, queries))
        found |= NAME_QUERY;
    return found;
}

static unsigned slot_of(struct str name)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < name.n; i++)
        h = (h ^ (unsigned char)name.p[i]) * 16777619u;
    return (h ^ h >> 16) % MEMO_SLOTS;
}

unsigned privacy_name(const struct privacy *p, struct name_memo *memo, struct str name)
{
    if (!memo || name.n == 0 || name.n > MEMO_NAME)
        return name_look(p, name);
    unsigned i = slot_of(name);
    if (memo->slots[i].n != name.n || memcmp(memo->slots[i].name, name.p, name.n) != 0) {
        memo->slots[i].found = (unsigned char)name_look(p, name);
        memo->slots[i].n = (unsigned char)name.n;
        memcpy(memo->slots[i].name, name.p, name.n);
    }
    return memo->slots[i].found;
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool privacy_cuts(const struct privacy *p, struct str name)
{
    if (name.n == 0)
        return false;
    for (size_t i = 0; i < p->cut_count; i++)
        if (p->cut[i].n == name.n && p->cut[i].p[0] == lower(name.p[0]) &&
            strncasecmp(p->cut[i].p, name.p, name.n) == 0)
            return true;
    return false;
}

/* --- addresses ------------------------------------------------------------------------------------------------- */

#define ADDRESS_BYTES 64 /* of any, with a NUL */

/* The address alone: without brackets, a port, a zone. False when it is too long for one. */
static bool bare_address(struct str s, char out[ADDRESS_BYTES])
{
    s = str_trim(s);
    if (s.n > 0 && s.p[0] == '[') {
        const char *end = memchr(s.p, ']', s.n);
        s = (struct str){s.p + 1, end ? (size_t)(end - s.p) - 1 : s.n - 1};
    } else if (s.n > 0) {
        const char *colon = memchr(s.p, ':', s.n);
        if (colon && !memchr(colon + 1, ':', s.n - (size_t)(colon + 1 - s.p)))
            s.n = (size_t)(colon - s.p);
    }
    const char *zone = s.n ? memchr(s.p, '%', s.n) : NULL;
    if (zone)
        s.n = (size_t)(zone - s.p);
    if (s.n == 0 || s.n >= ADDRESS_BYTES || memchr(s.p, '\0', s.n))
        return false;
    memcpy(out, s.p, s.n);
    out[s.n] = '\0';
    return true;
}

/* Where the last of the four numbers of an IPv4 address begins; 0 for what is none. Quicker than inet_pton and
 * inet_ntop, since nearly every event has one. */
static size_t last_of_four(const char *text)
{
    size_t from = 0, i = 0;
    unsigned v = 0;

    for (int dots = 0;; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            v = 10 * v + (unsigned)(text[i] - '0');
            if (v > 255 || (i > from && text[from] == '0'))
                return 0;
            continue;
        }
        if (i == from || (text[i] ? text[i] != '.' || dots == 3 : dots != 3))
            return 0;
        if (!text[i])
            return from;
        dots++;
        from = i + 1;
        v = 0;
    }
}

/* Truncates the text in place; false for what is no address. An IPv4 address in IPv6's clothes is one. */
static bool truncate_address(char text[ADDRESS_BYTES])
{
    struct in6_addr six;
    struct in_addr four;
    size_t last = last_of_four(text);

    if (last > 0) {
        memcpy(text + last, "0", 2);
        return true;
    }
    if (inet_pton(AF_INET6, text, &six) != 1)
        return false;
    if (!IN6_IS_ADDR_V4MAPPED(&six)) {
        memset(six.s6_addr + 6, 0, 10);
        return inet_ntop(AF_INET6, &six, text, ADDRESS_BYTES) != NULL;
    }
    memcpy(&four, six.s6_addr + 12, 4);
    ((unsigned char *)&four)[3] = 0;
    return inet_ntop(AF_INET, &four, text, ADDRESS_BYTES) != NULL;
}

struct str privacy_address(enum conf_ip how, struct str address, struct arena *a)
{
    char text[ADDRESS_BYTES];

    if (how == CONF_IP_FULL)
        return address;
    if (how == CONF_IP_NONE || !bare_address(address, text) || !truncate_address(text))
        return STR_NONE;
    return arena_dup(a, str_of(text));
}
