/* Tokens of a rule, as CEL has them. Private to rule_*.c; one thread. */
#ifndef WAYMARK_RULE_LEX_H
#define WAYMARK_RULE_LEX_H

#include "profiler/rule_source.h"
#include "profiler/rule_tree.h"

enum rule_token_kind {
    TOKEN_END,
    TOKEN_NAME,
    TOKEN_NUMBER,
    TOKEN_STRING,
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NULL,
    TOKEN_IN,
    TOKEN_OPEN, /* ( */
    TOKEN_CLOSE,
    TOKEN_OPEN_LIST, /* [ */
    TOKEN_CLOSE_LIST,
    TOKEN_OPEN_MAP, /* { */
    TOKEN_CLOSE_MAP,
    TOKEN_COMMA,
    TOKEN_DOT,
    TOKEN_COLON,
    TOKEN_QUESTION,
    TOKEN_AND,
    TOKEN_OR,
    TOKEN_NOT,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LT,
    TOKEN_LE,
    TOKEN_GT,
    TOKEN_GE,
    TOKEN_PLUS,
    TOKEN_MINUS,
    TOKEN_TIMES,
    TOKEN_DIVIDE,
    TOKEN_REST
};

struct rule_token {
    enum rule_token_kind kind;
    struct rule_place place;
    struct str text; /* of a name (in the source), of a string (decoded, in the arena) */
    struct rule_number number;
};

struct rule_lexer {
    struct rule_source *source;
    size_t at;
    unsigned line, column; /* of the byte at `at` */
};

void rule_lex_init(struct rule_lexer *l, struct rule_source *source);
/* The next token; false after a mistake, which the source then has. */
bool rule_lex_next(struct rule_lexer *l, struct rule_token *out);

/* Literals (rule_literal.c). */

/* A number as it stands in a rule: decimal with fraction and exponent, or 0x…. False: it has too many digits. */
bool rule_read_number(struct str text, struct rule_number *out);
/* The same number as `digits` / 10^places, without its sign; false when it does not end within what can be read: then
 * `places` is more than that, or it has too many digits. In lowest terms. */
bool rule_decimal(struct rule_number v, unsigned *places, __int128 *digits);
/* Whether it can be written so that it is read as the same: as a decimal, else as a quotient. In lowest terms. */
bool rule_number_writable(struct rule_number v);
/* The inside of a string literal with CEL's escapes. *bad is the offset of an escape that is none; then NULL. `to` has
 * room for text.n bytes; what was written is in *n. */
char *rule_read_escapes(struct str text, char *to, size_t *n, size_t *bad);

#endif
