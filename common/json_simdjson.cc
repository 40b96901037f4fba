/* Reading JSON: the only C++ of the tree. simdjson's first stage (dispatched to the best instructions of the machine)
 * finds where each token begins and checks UTF-8, control characters and the ends of strings; the walk here checks
 * the grammar token by token and builds the tree. simdjson's own walks either refuse numbers over 64 bits or check
 * nothing that is not asked for. No recursion: nesting costs frames in the parser, not stack. No exceptions: simdjson
 * is called through error codes and memory comes from malloc. The thread that holds the parser runs it. */
#include <simdjson.h>

#include <cassert>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

extern "C" {
#include "common/json.h"
#include "common/json_text.h"
#include "common/limits.h"
}

/* Greatest text whose index is kept between texts (4 bytes for each byte), and that of a new parser. */
#define KEEP_TEXT (LIMIT_JSON_KEEP / sizeof(uint32_t))
#define FIRST_TEXT (4 * KIB)

namespace
{

struct frame {
    struct json *container;
    struct json *last; /* child so far */
};

/* Where the walk stands in one text. */
struct walk {
    char *bytes;
    size_t n;
    const uint32_t *tokens; /* offset of each token's first byte */
    size_t token_count;
    size_t at; /* next token */
    const char *fault;
    size_t fault_at;
};

bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

} // namespace

struct json_parser {
    std::unique_ptr<simdjson::internal::dom_parser_implementation> scanner;
    size_t scanner_cap; /* longest text in bytes */
    struct json *nodes;
    size_t node_cap, node_count, node_limit;
    char *text; /* unescaped strings */
    size_t text_cap, text_used;
    size_t depth;
    struct frame frames[LIMIT_JSON_DEPTH];
    struct walk walk;
};

namespace
{

int fail_at(struct json_parser *p, size_t where, const char *why)
{
    p->walk.fault = why;
    p->walk.fault_at = where;
    return JSON_INVALID;
}

size_t token_offset(const struct walk *w, size_t token)
{
    return token < w->token_count ? w->tokens[token] : w->n;
}

/* First byte of the next token; NUL, which starts none, at the end. */
char peek(const struct walk *w)
{
    return w->at < w->token_count ? w->bytes[w->tokens[w->at]] : '\0';
}

/* A scalar without quotes must be followed by white space, the next token or the end: simdjson does not cut 1"a" in
 * two. */
bool ends_token(const struct walk *w, size_t end)
{
    return end == w->n || end == token_offset(w, w->at + 1) || is_space(w->bytes[end]);
}

/* Room for everything that this text can unescape to, since that is never longer than the source. */
int text_room(struct json_parser *p)
{
    if (p->text_cap >= p->walk.n)
        return 0;
    assert(p->text_used == 0);
    free(p->text);
    p->text = (char *)malloc(p->walk.n);
    p->text_cap = p->text ? p->walk.n : 0;
    return p->text ? 0 : -ENOMEM;
}

int unescape(struct json_parser *p, char *s, size_t n, size_t backslash, struct str *out)
{
    size_t bad;
    int r = text_room(p);

    if (r != 0)
        return r;
    out->p = p->text + p->text_used;
    if (!json_unescape(s, n, backslash, p->text + p->text_used, &out->n, &bad))
        return fail_at(p, (size_t)(s - p->walk.bytes) + bad, "bad escape in a string");
    p->text_used += out->n;
    assert(p->text_used <= p->text_cap);
    return 0;
}

/* The string whose opening quote is the next token. Whatever is not white space behind its closing quote is a token
 * of its own, so the closing quote is the last byte before the next token. */
int read_string(struct json_parser *p, struct str *out, struct str *raw)
{
    struct walk *w = &p->walk;
    size_t start = w->tokens[w->at], close = token_offset(w, w->at + 1) - 1;
    char *first = w->bytes + start + 1, *backslash;

    while (close > start && is_space(w->bytes[close]))
        close--;
    if (close == start || w->bytes[close] != '"')
        return fail_at(p, start, "string without an end");
    w->at++;
    if (raw) {
        raw->p = w->bytes + start;
        raw->n = close + 1 - start;
    }
    backslash = (char *)memchr(first, '\\', close - start - 1);
    if (backslash)
        return unescape(p, first, close - start - 1, (size_t)(backslash - first), out);
    out->p = first;
    out->n = close - start - 1;
    return 0;
}

int read_number(struct json_parser *p, struct json *node)
{
    struct walk *w = &p->walk;
    size_t start = w->tokens[w->at], length = json_number_length(w->bytes + start, w->n - start);

    if (length == 0 || !ends_token(w, start + length))
        return fail_at(p, start, "bad number");
    node->type = JSON_NUMBER;
    node->raw.p = w->bytes + start;
    node->raw.n = length;
    node->text = node->raw;
    w->at++;
    return 0;
}

int read_word(struct json_parser *p, struct json *node, enum json_type type, const char *word)
{
    struct walk *w = &p->walk;
    size_t start = w->tokens[w->at], n = strlen(word);

    if (w->n - start < n || memcmp(w->bytes + start, word, n) != 0 || !ends_token(w, start + n))
        return fail_at(p, start, "no JSON value");
    node->type = type;
    node->raw.p = w->bytes + start;
    node->raw.n = n;
    w->at++;
    return 0;
}

int read_scalar(struct json_parser *p, struct json *node)
{
    char c = peek(&p->walk);

    switch (c) {
    case '"':
        node->type = JSON_STRING;
        return read_string(p, &node->text, &node->raw);
    case 't':
        return read_word(p, node, JSON_TRUE, "true");
    case 'f':
        return read_word(p, node, JSON_FALSE, "false");
    case 'n':
        return read_word(p, node, JSON_NULL, "null");
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return read_number(p, node);
        return fail_at(p, token_offset(&p->walk, p->walk.at), "a value is missing");
    }
}

/* A node as the last child of the innermost open container. */
int add_node(struct json_parser *p, struct str key, struct json **out)
{
    struct json *node;

    if (p->node_count == p->node_limit)
        return JSON_TOO_LARGE;
    assert(p->node_count < p->node_cap); /* each has a token */
    node = &p->nodes[p->node_count++];
    memset(node, 0, sizeof *node);
    node->key = key;
    if (p->depth > 0) {
        struct frame *f = &p->frames[p->depth - 1];
        if (f->last)
            f->last->next = node;
        else
            f->container->child = node;
        f->last = node;
        f->container->count++;
    }
    *out = node;
    return 0;
}

int open_container(struct json_parser *p, struct json *node, char c)
{
    struct walk *w = &p->walk;
    size_t start = w->tokens[w->at];

    if (p->depth == LIMIT_JSON_DEPTH)
        return fail_at(p, start, "nested too deep");
    node->type = c == '{' ? JSON_OBJECT : JSON_ARRAY;
    node->height = 1;
    node->raw.p = w->bytes + start;
    p->frames[p->depth].container = node;
    p->frames[p->depth].last = NULL;
    p->depth++;
    w->at++;
    return 0;
}

/* The next token is the closing one. */
void close_container(struct json_parser *p)
{
    struct walk *w = &p->walk;
    struct json *node = p->frames[--p->depth].container;

    node->raw.n = (size_t)(w->bytes + w->tokens[w->at] + 1 - node->raw.p);
    w->at++;
    if (p->depth > 0) {
        struct json *parent = p->frames[p->depth - 1].container;
        if (parent->height <= node->height)
            parent->height = node->height + 1;
    }
}

int read_key(struct json_parser *p, struct str *key)
{
    struct walk *w = &p->walk;
    int r;

    if (peek(w) != '"')
        return fail_at(p, token_offset(w, w->at), "a member's name is missing");
    r = read_string(p, key, NULL);
    if (r != 0)
        return r;
    if (peek(w) != ':')
        return fail_at(p, token_offset(w, w->at), "a colon is missing");
    w->at++;
    return 0;
}

/* Reads one value up to its end, or up to the first child of a container. *opened says which. */
int read_value(struct json_parser *p, bool *opened)
{
    struct str key = {NULL, 0};
    struct json *node;
    int r = 0;
    char c;

    if (p->depth > 0 && p->frames[p->depth - 1].container->type == JSON_OBJECT)
        r = read_key(p, &key);
    if (r == 0 && p->walk.at == p->walk.token_count)
        r = fail_at(p, p->walk.n, "a value is missing");
    if (r == 0)
        r = add_node(p, key, &node);
    if (r != 0)
        return r;
    c = peek(&p->walk);
    if (c != '{' && c != '[') {
        *opened = false;
        return read_scalar(p, node);
    }
    r = open_container(p, node, c);
    *opened = r == 0 && peek(&p->walk) != (c == '{' ? '}' : ']');
    if (r == 0 && !*opened)
        close_container(p);
    return r;
}

/* After a value: closes what ends here; *more says that another value follows. */
int read_separators(struct json_parser *p, bool *more)
{
    struct walk *w = &p->walk;

    while (p->depth > 0) {
        char c = peek(w);
        if (c == ',') {
            w->at++;
            *more = true;
            return 0;
        }
        if (c != (p->frames[p->depth - 1].container->type == JSON_OBJECT ? '}' : ']'))
            return fail_at(p, token_offset(w, w->at), "a comma or a closing bracket is missing");
        close_container(p);
    }
    *more = false;
    return 0;
}

int walk_document(struct json_parser *p)
{
    bool opened = false, more = true;
    int r = 0;

    while (r == 0 && more) {
        r = read_value(p, &opened);
        if (r == 0 && !opened)
            r = read_separators(p, &more);
    }
    if (r == 0 && p->walk.at != p->walk.token_count)
        return fail_at(p, token_offset(&p->walk, p->walk.at), "something follows the value");
    return r;
}

/* simdjson's first stage names no place; finds it the slow way. */
int find_fault(struct json_parser *p, simdjson::error_code code)
{
    const struct walk *w = &p->walk;
    size_t i = 0, length, bad, opening = 0;
    bool in_string = false;

    while (i < w->n) {
        char c = w->bytes[i];
        length = json_utf8_length(w->bytes + i, w->n - i, &bad);
        if (length == 0)
            return fail_at(p, i, "bad UTF-8");
        if (in_string && (unsigned char)c < 0x20)
            return fail_at(p, i, "control character in a string");
        if (c == '"') {
            in_string = !in_string;
            opening = i;
        } else if (in_string && c == '\\' && i + 1 < w->n && (unsigned char)w->bytes[i + 1] < 0x80) {
            length = 2;
        }
        i += length;
    }
    if (in_string)
        return fail_at(p, opening, "string without an end");
    return fail_at(p, 0, simdjson::error_message(code));
}

/* A failure leaves a parser that asks again. */
bool set_scanner(struct json_parser *p, size_t n)
{
    p->scanner_cap = p->scanner->set_capacity(n) == simdjson::SUCCESS ? n : 0;
    return p->scanner_cap > 0;
}

/* Finds the tokens. */
int scan(struct json_parser *p)
{
    struct walk *w = &p->walk;
    simdjson::error_code code;

    if (w->n == 0)
        return fail_at(p, 0, "empty");
    if (w->n > p->scanner_cap && !set_scanner(p, w->n > KEEP_TEXT ? w->n : KEEP_TEXT))
        return -ENOMEM;
    code = p->scanner->stage1((const uint8_t *)w->bytes, w->n, simdjson::stage1_mode::regular);
    if (code == simdjson::EMPTY)
        return fail_at(p, 0, "empty");
    if (code != simdjson::SUCCESS)
        return find_fault(p, code);
    w->tokens = p->scanner->structural_indexes.get();
    w->token_count = p->scanner->n_structural_indexes;
    return 0;
}

/* Values are at most as many as tokens, and about half of them in anything valid; untouched memory costs nothing. */
int node_room(struct json_parser *p)
{
    size_t need = p->walk.token_count < p->node_limit ? p->walk.token_count : p->node_limit;

    if (need <= p->node_cap)
        return 0;
    free(p->nodes);
    p->nodes = (struct json *)malloc(need * sizeof *p->nodes);
    p->node_cap = p->nodes ? need : 0;
    return p->nodes ? 0 : -ENOMEM;
}

} // namespace

struct json_parser *json_parser_new(void)
{
    struct json_parser *p = new (std::nothrow) json_parser();

    if (!p)
        return NULL;
    /* Nesting is ours to count, so simdjson's own depth is the least it takes. */
    if (simdjson::get_active_implementation()->create_dom_parser_implementation(FIRST_TEXT, 1, p->scanner) !=
        simdjson::SUCCESS) {
        json_parser_free(p);
        return NULL;
    }
    p->scanner_cap = FIRST_TEXT;
    p->node_limit = LIMIT_JSON_NODES;
    return p;
}

void json_parser_free(struct json_parser *p)
{
    if (!p)
        return;
    free(p->nodes);
    free(p->text);
    delete p;
}

void json_parser_limit(struct json_parser *p, size_t values)
{
    assert(values > 0 && values <= LIMIT_JSON_NODES);
    p->node_limit = values;
}

void json_parser_trim(struct json_parser *p)
{
    p->node_count = 0;
    p->text_used = 0;
    if (p->node_cap * sizeof *p->nodes > LIMIT_JSON_KEEP) {
        free(p->nodes);
        p->nodes = NULL;
        p->node_cap = 0;
    }
    if (p->text_cap > LIMIT_JSON_KEEP) {
        free(p->text);
        p->text = NULL;
        p->text_cap = 0;
    }
}

int json_parse(struct json_parser *p, char *bytes, size_t n, const struct json **root, struct err *e)
{
    int r;

    json_parser_trim(p);
    p->walk = walk{bytes, n, NULL, 0, 0, NULL, 0};
    p->depth = 0;
    r = n <= UINT32_MAX ? scan(p) : JSON_TOO_LARGE;
    if (r == 0)
        r = node_room(p);
    if (r == 0)
        r = walk_document(p);
    /* The index of a large text is not needed once the tree stands. */
    if (p->scanner_cap > KEEP_TEXT)
        set_scanner(p, KEEP_TEXT);
    if (r == JSON_INVALID)
        err_set(e, "%s at byte %zu", p->walk.fault, p->walk.fault_at);
    else if (r == JSON_TOO_LARGE)
        err_set(e, "more than %zu values", p->node_limit);
    else if (r < 0)
        err_set(e, "out of memory");
    if (r == 0)
        *root = &p->nodes[0];
    return r;
}

const struct json *json_get(const struct json *o, const char *key)
{
    const struct json *found = NULL;
    size_t n = strlen(key);

    if (!o || o->type != JSON_OBJECT)
        return NULL;
    for (const struct json *m = o->child; m; m = m->next) {
        if (m->key.n == n && memcmp(m->key.p, key, n) == 0)
            found = m;
    }
    return found;
}
