/* The pixel's query as a call: its parameters become the tree that a parser would have made of the same call in JSON,
 * and go the same way. Pure; any thread. */
#include <errno.h>

#include "collector/decode_fields.h"

/* Parameters that stand beside the properties. The first of a name counts. */
static const char *const envelope[] = {"type",      "event",     "name",     "userId",   "anonymousId",  "messageId",
                                       "timestamp", "sentAt",    "writeKey", "user_id",  "anonymous_id", "message_id",
                                       "sent_at",   "write_key", "userHash", "user_hash"};

static bool is_envelope(struct str name)
{
    for (size_t i = 0; i < sizeof envelope / sizeof *envelope; i++)
        if (str_is(name, envelope[i]))
            return true;
    return false;
}

/* An object under way. */
struct object {
    struct json *node, *last;
    struct buf text;
};

static void object_begin(struct object *o, struct json *node)
{
    *node = (struct json){.type = JSON_OBJECT};
    *o = (struct object){.node = node};
    buf_init(&o->text, LIMIT_EVENT_BYTES);
    buf_add_char(&o->text, '{');
}

static void object_add(struct object *o, struct json *child)
{
    if (o->last) {
        o->last->next = child;
        buf_add_char(&o->text, ',');
    } else {
        o->node->child = child;
    }
    o->last = child;
    o->node->count++;
    if (o->node->height <= child->height)
        o->node->height = child->height + 1;
    json_write_str(&o->text, child->key);
    buf_add_char(&o->text, ':');
    buf_add_str(&o->text, child->raw);
}

static bool has_key(const struct object *o, struct str key)
{
    for (const struct json *v = o->node->child; v; v = v->next)
        if (str_eq(v->key, key))
            return true;
    return false;
}

/* Gives the node its text. Frees the rest. */
static bool object_end(struct object *o, struct arena *a)
{
    buf_add_char(&o->text, '}');
    o->node->height = o->node->height ? o->node->height : 1;
    o->node->raw = o->text.failed ? STR_NONE : arena_dup(a, buf_str(&o->text));
    buf_deinit(&o->text);
    return str_has(o->node->raw);
}

static bool string_node(struct json *node, const struct decode_pair *pair, struct arena *a)
{
    struct buf b;

    buf_init(&b, LIMIT_EVENT_BYTES);
    json_write_str(&b, pair->value);
    *node = (struct json){.type = JSON_STRING,
                          .key = pair->name,
                          .text = pair->value,
                          .raw = b.failed ? STR_NONE : arena_dup(a, buf_str(&b))};
    buf_deinit(&b);
    return str_has(node->raw);
}

/* Fills root and properties (nodes 0 and 1) and a node for each parameter. False when memory is out. */
static bool build(const struct decode_pair *query, size_t n, struct arena *a, struct json *nodes)
{
    struct object root, properties;
    bool ok = true, traits = false;

    object_begin(&root, &nodes[0]);
    object_begin(&properties, &nodes[1]);
    for (size_t i = 0; i < n && ok; i++) {
        struct json *node = &nodes[2 + i];
        struct object *o = is_envelope(query[i].name) ? &root : &properties;
        if (has_key(o, query[i].name))
            continue;
        ok = string_node(node, &query[i], a);
        if (ok)
            object_add(o, node);
        traits |= str_is(node->key, "type") && (str_is(node->text, "identify") || str_is(node->text, "group"));
    }
    ok &= object_end(&properties, a);
    if (ok && nodes[1].count > 0) {
        nodes[1].key = traits ? STR_LIT("traits") : STR_LIT("properties");
        object_add(&root, &nodes[1]);
    }
    return object_end(&root, a) && ok;
}

int decode_pixel(const struct decode_pair *query, size_t n, const struct decode_input *in, struct arena *a,
                 struct event *out, struct refusal *why)
{
    struct decode_input of_page = *in;
    struct json *nodes = arena_alloc(a, (n + 2) * sizeof *nodes);

    if (!nodes || !build(query, n, a, nodes))
        return -ENOMEM;
    if (of_page.route_type == 0)
        of_page.route_type = EVENT_PAGE;
    return decode_event(&nodes[0], &of_page, a, out, why);
}
