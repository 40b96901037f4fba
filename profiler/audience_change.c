/* Changes of membership as JSON; see audience_change.h. Any thread. */
#include "profiler/audience_change.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/num.h"

static const char *const reasons[] = {
    [BECAUSE_EVENT] = "event", [BECAUSE_TIME] = "time", [BECAUSE_RULE] = "rule", [BECAUSE_ERASED] = "erased"};

const char *audience_change_because(enum change_because because)
{
    return reasons[because];
}

static void write_time(struct buf *b, const char *key, int64_t time)
{
    if (time == TIME_NONE)
        return;
    json_write_key(b, key);
    buf_add_char(b, '"');
    time_write(b, time);
    buf_add_char(b, '"');
}

bool audience_change_write(const struct audience_change *c, struct buf *b)
{
    buf_add_text(b, "{\"audience\":");
    json_write_str(b, c->audience);
    json_write_member(b, "action", str_of(c->entered ? "entered" : "left"));
    json_write_member(b, "id", c->id);
    write_time(b, "time", c->time);
    write_time(b, "entered_at", c->entered_at);
    buf_addf(b, ",\"version\":%lld", (long long)c->version);
    write_time(b, "rule_version", c->rule_version);
    json_write_member(b, "because", str_of(audience_change_because(c->because)));
    if (str_has(c->message_id)) {
        buf_add_text(b, ",\"event\":{\"message_id\":");
        json_write_str(b, c->message_id);
        json_write_member(b, "name", c->event_name);
        write_time(b, "time", c->event_time);
        buf_add_char(b, '}');
    }
    buf_add_char(b, '}');
    return !b->failed;
}

static int64_t read_time(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);
    int64_t time;

    return v && v->type == JSON_STRING && time_parse(v->text, &time) == 0 ? time : TIME_NONE;
}

static struct str read_text(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_STRING ? v->text : STR_NONE;
}

static bool take(const struct json *o, struct audience_change *c)
{
    struct str action = read_text(o, "action"), because = read_text(o, "because");
    const struct json *version = json_get(o, "version"), *event = json_get(o, "event");
    bool known = false;

    *c = (struct audience_change){.audience = read_text(o, "audience"), .id = read_text(o, "id")};
    c->entered = str_is(action, "entered");
    c->time = read_time(o, "time");
    c->entered_at = read_time(o, "entered_at");
    c->rule_version = read_time(o, "rule_version");
    uint64_t number = 0;
    if (version && version->type == JSON_NUMBER && num_u64(version->text, &number) == 0)
        c->version = (int64_t)number;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (str_is(because, reasons[i])) {
            c->because = (enum change_because)i;
            known = true;
        }
    c->message_id = read_text(event, "message_id");
    c->event_name = read_text(event, "name");
    c->event_time = read_time(event, "time");
    return str_has(c->audience) && known && (c->entered || str_is(action, "left"));
}

static bool keep(struct arena *a, struct str *s)
{
    *s = arena_dup(a, *s);
    return !str_has(*s) || s->p;
}

int audience_change_read(struct str bytes, struct arena *a, struct audience_change *out)
{
    struct json_parser *p = json_parser_new();
    char *copy = arena_alloc(a, bytes.n + JSON_PADDING);
    const struct json *root;
    int rc = -ENOMEM;

    if (p && copy) {
        memcpy(copy, bytes.p, bytes.n);
        memset(copy + bytes.n, 0, JSON_PADDING);
        rc = json_parse(p, copy, bytes.n, &root, NULL);
        rc = rc == -ENOMEM ? rc : rc != JSON_OK || root->type != JSON_OBJECT || !take(root, out);
    }
    if (rc == 0 &&
        !(keep(a, &out->audience) && keep(a, &out->id) && keep(a, &out->message_id) && keep(a, &out->event_name)))
        rc = -ENOMEM;
    json_parser_free(p);
    return rc;
}
