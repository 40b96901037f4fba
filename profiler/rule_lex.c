/* Text of a rule to tokens. Any thread.
 *
 * Columns count characters, so the text must be UTF-8 to the last byte; it is checked on the way. */
#include "profiler/rule_lex.h"

#include <assert.h>

#include "common/json_text.h"

void rule_lex_init(struct rule_lexer *l, struct rule_source *source)
{
    *l = (struct rule_lexer){.source = source, .line = 1, .column = 1};
}

/* The byte `ahead` of here; NUL past the end, where nothing else is one. */
static char peek(const struct rule_lexer *l, size_t ahead)
{
    struct str text = l->source->text;

    return l->at + ahead < text.n ? text.p[l->at + ahead] : '\0';
}

static struct rule_place here(const struct rule_lexer *l)
{
    return (struct rule_place){l->at, l->at + 1, l->line, l->column};
}

/* Past one character. */
static bool step(struct rule_lexer *l)
{
    struct str text = l->source->text;
    size_t bad, n;

    assert(l->at < text.n);
    n = json_utf8_length(text.p + l->at, text.n - l->at, &bad);
    if (n == 0 || text.p[l->at] == '\0') {
        rule_fail(l->source, here(l), n ? "a NUL byte" : "this is not UTF-8");
        return false;
    }
    if (text.p[l->at] == '\n') {
        l->line++;
        l->column = 1;
    } else {
        l->column++;
    }
    l->at += n;
    return true;
}

static bool steps(struct rule_lexer *l, size_t bytes)
{
    for (size_t end = l->at + bytes; l->at < end;)
        if (!step(l))
            return false;
    return true;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool skip_blanks(struct rule_lexer *l)
{
    for (;;) {
        char c = peek(l, 0);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            if (!step(l))
                return false;
        } else if (c == '/' && peek(l, 1) == '/') {
            while (l->at < l->source->text.n && peek(l, 0) != '\n')
                if (!step(l))
                    return false;
        } else {
            return true;
        }
    }
}

static size_t digits_from(const struct rule_lexer *l, size_t i)
{
    while (is_digit(peek(l, i)))
        i++;
    return i;
}

/* Bytes of the decimal number here. */
static size_t decimal_length(const struct rule_lexer *l)
{
    size_t n = digits_from(l, 0), e;

    if (peek(l, n) == '.' && is_digit(peek(l, n + 1)))
        n = digits_from(l, n + 1);
    if (peek(l, n) == 'e' || peek(l, n) == 'E') {
        e = n + 1 + (peek(l, n + 1) == '+' || peek(l, n + 1) == '-');
        if (is_digit(peek(l, e)))
            n = digits_from(l, e);
    }
    return n;
}

static bool lex_number(struct rule_lexer *l, struct rule_token *out)
{
    struct str text = {l->source->text.p + l->at, 0};
    bool hex = peek(l, 0) == '0' && (peek(l, 1) == 'x' || peek(l, 1) == 'X') && is_hex(peek(l, 2));
    size_t suffix;

    if (hex)
        for (text.n = 2; is_hex(peek(l, text.n));)
            text.n++;
    else
        text.n = decimal_length(l);
    suffix = peek(l, text.n) == 'u' || peek(l, text.n) == 'U';
    out->kind = TOKEN_NUMBER;
    if (is_letter(peek(l, text.n + suffix)) || (suffix && is_digit(peek(l, text.n + 1)))) {
        (void)steps(l, text.n);
        rule_fail(l->source, here(l), "a number ends here; durations are written days(30), hours(24), minutes(10)");
        return false;
    }
    if (!rule_read_number(text, &out->number)) {
        rule_fail(l->source, out->place, "this number has too many digits: at most 36");
        return false;
    }
    return steps(l, text.n + suffix);
}

static bool at_quotes(const struct rule_lexer *l, char quote, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (peek(l, i) != quote)
            return false;
    return true;
}

/* Past the end of a string, whose quotes are `count` times `quote`; *inside is what stands between them. */
static bool lex_inside(struct rule_lexer *l, struct rule_place start, char quote, size_t count, bool raw,
                       struct str *inside)
{
    size_t end = l->source->text.n;

    *inside = (struct str){l->source->text.p + l->at, 0};
    while (!at_quotes(l, quote, count)) {
        if (l->at >= end || (count == 1 && (peek(l, 0) == '\n' || peek(l, 0) == '\r'))) {
            rule_fail(l->source, start, "this text has no end: a %s is missing",
                      count == 3     ? "triple quote"
                      : quote == '"' ? "\""
                                     : "'");
            return false;
        }
        if (!raw && peek(l, 0) == '\\' && l->at + 1 < end && !step(l))
            return false;
        if (!step(l))
            return false;
    }
    inside->n = (size_t)(l->source->text.p + l->at - inside->p);
    return steps(l, count);
}

static void fail_escape(struct rule_lexer *l, struct rule_lexer start, struct str inside, size_t bad)
{
    size_t offset = (size_t)(inside.p - l->source->text.p) + bad;

    if (steps(&start, offset - start.at))
        rule_fail(l->source, here(&start), "there is no such escape; a backslash itself is written \\\\");
}

static bool lex_string(struct rule_lexer *l, struct rule_token *out, bool raw)
{
    struct rule_lexer start = *l;
    struct str inside;
    size_t count, bad = 0;
    char quote, *to;

    if (raw && !step(l))
        return false;
    quote = peek(l, 0);
    count = at_quotes(l, quote, 3) ? 3 : 1;
    if (!steps(l, count) || !lex_inside(l, out->place, quote, count, raw, &inside))
        return false;
    out->kind = TOKEN_STRING;
    if (raw || inside.n == 0) {
        out->text = rule_copy(l->source, inside);
        return out->text.p != NULL;
    }
    to = rule_alloc(l->source, inside.n);
    if (!to)
        return false;
    if (!rule_read_escapes(inside, to, &out->text.n, &bad)) {
        fail_escape(l, start, inside, bad);
        return false;
    }
    out->text.p = to;
    return true;
}

static bool lex_name(struct rule_lexer *l, struct rule_token *out)
{
    static const struct {
        const char *word;
        enum rule_token_kind kind;
    } words[] = {{"true", TOKEN_TRUE}, {"false", TOKEN_FALSE}, {"null", TOKEN_NULL}, {"in", TOKEN_IN}};
    size_t n = 1;

    while (is_letter(peek(l, n)) || is_digit(peek(l, n)))
        n++;
    out->kind = TOKEN_NAME;
    out->text = (struct str){l->source->text.p + l->at, n};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_is(out->text, words[i].word))
            out->kind = words[i].kind;
    return steps(l, n);
}

/* A sign that no token begins with, with what was probably meant. */
static bool fail_sign(struct rule_lexer *l)
{
    static const struct {
        const char *sign, *meant;
    } near[] = {{"=", "=="},
                {"&", "&&"},
                {"|", "||"},
                {"\xe2\x80\x9c", "\""},
                {"\xe2\x80\x9d", "\""},
                {"\xe2\x80\x9e", "\""},
                {"\xe2\x80\x98", "'"},
                {"\xe2\x80\x99", "'"},
                {"\xe2\x89\xa5", ">="},
                {"\xe2\x89\xa4", "<="},
                {"\xe2\x89\xa0", "!="},
                {"\xc3\x97", "*"},
                {"\xe2\x88\x92", "-"},
                {"\xe2\x80\x93", "-"},
                {"\xc2\xa0", " "}};
    struct rule_lexer at = *l;
    struct str sign = {l->source->text.p + l->at, 0};

    if (!step(l))
        return false;
    sign.n = l->at - at.at;
    for (size_t i = 0; i < sizeof near / sizeof *near; i++)
        if (str_is(sign, near[i].sign)) {
            rule_fail_near(l->source, here(&at), str_of(near[i].meant), "%.*s is no operator", STR_ARG(sign));
            return false;
        }
    rule_fail(l->source, here(&at), "%.*s has no place in a rule", STR_ARG(sign));
    return false;
}

static bool lex_operator(struct rule_lexer *l, struct rule_token *out)
{
    static const struct {
        const char *text;
        enum rule_token_kind kind;
    } operators[] = {{"&&", TOKEN_AND},       {"||", TOKEN_OR},      {"==", TOKEN_EQ},       {"!=", TOKEN_NE},
                     {"<=", TOKEN_LE},        {">=", TOKEN_GE},      {"<", TOKEN_LT},        {">", TOKEN_GT},
                     {"!", TOKEN_NOT},        {"(", TOKEN_OPEN},     {")", TOKEN_CLOSE},     {"[", TOKEN_OPEN_LIST},
                     {"]", TOKEN_CLOSE_LIST}, {"{", TOKEN_OPEN_MAP}, {"}", TOKEN_CLOSE_MAP}, {",", TOKEN_COMMA},
                     {".", TOKEN_DOT},        {":", TOKEN_COLON},    {"?", TOKEN_QUESTION},  {"+", TOKEN_PLUS},
                     {"-", TOKEN_MINUS},      {"*", TOKEN_TIMES},    {"/", TOKEN_DIVIDE},    {"%", TOKEN_REST}};
    struct str rest = {l->source->text.p + l->at, l->source->text.n - l->at};

    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (str_starts(rest, str_of(operators[i].text))) {
            out->kind = operators[i].kind;
            return steps(l, strlen(operators[i].text));
        }
    return fail_sign(l);
}

/* The kind of token by its first bytes. */
static bool lex_token(struct rule_lexer *l, struct rule_token *out)
{
    char c = peek(l, 0), next = peek(l, 1);
    bool quote_next = next == '"' || next == '\'';

    if (l->at >= l->source->text.n)
        return true;
    if (c == '"' || c == '\'')
        return lex_string(l, out, false);
    if ((c == 'r' || c == 'R') && quote_next)
        return lex_string(l, out, true);
    if ((c == 'b' || c == 'B') && quote_next) {
        rule_fail(l->source, out->place, "bytes are not part of the language");
        return false;
    }
    if (is_letter(c))
        return lex_name(l, out);
    if (is_digit(c) || (c == '.' && is_digit(next)))
        return lex_number(l, out);
    return lex_operator(l, out);
}

bool rule_lex_next(struct rule_lexer *l, struct rule_token *out)
{
    if (!skip_blanks(l))
        return false;
    *out = (struct rule_token){.kind = TOKEN_END, .place = here(l)};
    if (!lex_token(l, out))
        return false;
    out->place.to = l->at;
    return true;
}
