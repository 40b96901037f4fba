/* waymark identity and unlink: who uses which device and why that is believed; undoing it, or what that would move. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/limits.h"

/* --- for people ----------------------------------------------------------------------------------------------- */

static struct str text_of(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && (v->type == JSON_STRING || v->type == JSON_NUMBER) ? v->text : STR_NONE;
}

static bool is_true(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_TRUE;
}

static void show_time(struct str t)
{
    if (t.n >= 19)
        printf("%.10s %.8s", t.p, t.p + 11);
    else
        show_text(t);
}

static void show_id(const struct json *o)
{
    struct str id = text_of(o, "id");

    show_text(id);
    printf("%*s", id.n < 26 ? (int)(26 - id.n) : 1, "");
}

/* first TIME, last TIME; what an absent one leaves out */
static void show_time_after(const char *words, struct str t)
{
    if (!str_has(t))
        return;
    printf("%s", words);
    show_time(t);
}

static void show_links(const struct json *o)
{
    struct str links = text_of(o, "links"), orders = text_of(o, "by_order");

    if (!str_has(links))
        return;
    printf(", links: %.*s", STR_ARG(links));
    if (str_has(orders) && !str_is(orders, "0"))
        printf(" (by orders: %.*s)", STR_ARG(orders));
    show_time_after(", from ", text_of(o, "first"));
    show_time_after(" to ", text_of(o, "last"));
}

/* One end of the graph: a user of a device, or a device of a user. */
static void show_end(const struct json *o)
{
    struct str reason = text_of(o, "reason");

    printf("  ");
    show_id(o);
    printf(is_true(o, "linked") ? "linked" : "not linked");
    if (str_has(reason)) {
        printf(" (");
        show_text(reason);
        putchar(')');
    }
    show_time_after(", first evidence ", text_of(o, "first_evidence"));
    show_links(o);
    show_time_after(", unlinked up to ", text_of(o, "unlinked_until"));
    if (is_true(o, "elsewhere"))
        printf(", more is known by another profiler: ask for the device");
    putchar('\n');
}

static void show_run(const struct json *o)
{
    printf("  had by ");
    show_id(o);
    show_time_after("from ", text_of(o, "from"));
    show_time_after(str_has(text_of(o, "from")) ? " to " : "to ", text_of(o, "to"));
    putchar('\n');
}

static void show_identity(const struct json *root)
{
    const struct json *list = json_get(root, "devices"), *runs = json_get(root, "runs");
    struct str profile = text_of(root, "profile"), events = text_of(root, "events"), reason = text_of(root, "reason");

    show_text(text_of(root, "id"));
    if (str_has(profile) && !str_eq(profile, text_of(root, "id"))) {
        printf(" is ");
        show_text(profile);
    }
    if (str_has(events))
        printf(", events without a user: %.*s", STR_ARG(events));
    if (is_true(root, "shared"))
        printf(", shared (too many %.*s): no link counts", STR_ARG(reason));
    if (is_true(root, "capped"))
        printf(", has had more devices than it may keep: those of later evidence are not here");
    putchar('\n');
    if (!list)
        list = json_get(root, "users");
    for (const struct json *o = list ? list->child : NULL; o; o = o->next)
        show_end(o);
    for (const struct json *o = runs ? runs->child : NULL; o; o = o->next)
        show_run(o);
}

static void show_moved(const char *label, const struct json *o)
{
    for (const struct json *m = o ? o->child : NULL; m; m = m->next) {
        printf("  %-5s ", label);
        show_text(m->key);
        printf("  %.*s\n", STR_ARG(m->text));
    }
}

static void show_preview(const struct json *root)
{
    printf("would move: %.*s events, %.*s orders", STR_ARG(text_of(root, "events")), STR_ARG(text_of(root, "orders")));
    show_time_after(", from ", text_of(root, "first"));
    show_time_after(" to ", text_of(root, "last"));
    putchar('\n');
    show_moved("from", json_get(root, "from"));
    show_moved("to", json_get(root, "to"));
    if (is_true(root, "shared_after"))
        printf("the device is shared: no link of it counts\n");
}

static void show_unlinked(const struct json *root)
{
    printf("anon:");
    show_text(text_of(root, "anonymous_id"));
    printf(" and user:");
    show_text(text_of(root, "user_id"));
    printf(" are unlinked up to ");
    show_time(text_of(root, "until"));
    putchar('\n');
}

/* --- commands ------------------------------------------------------------------------------------------------- */

int cli_identity(const struct cli_command *c, int argc, char **argv)
{
    return cli_show_one(c, argc, argv, "profiles", "/identity", show_identity);
}

/* Without its kind, if it is given. */
static struct str bare(const char *id, const char *kind)
{
    struct str text = str_of(id), prefix = str_of(kind);

    return str_starts(text, prefix) ? (struct str){text.p + prefix.n, text.n - prefix.n} : text;
}

static void write_step(struct buf *b, const char *device, const char *user, const char *until)
{
    buf_add_char(b, '{');
    json_write_member(b, "anonymous_id", bare(device, "anon:"));
    json_write_member(b, "user_id", bare(user, "user:"));
    json_write_member(b, "until", str_of(until));
    buf_add_char(b, '}');
}

int cli_unlink(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *until = NULL;
    bool json = false, preview = false;
    const struct cli_option options[] = {
        {"json", NULL, "print the answer as it came", &json, NULL},
        {"until", "TIME", "only links up to then, as 2026-01-31T10:00:00Z; now if not given", NULL, &until},
        {"preview", NULL, "change nothing: say what would move", &preview, NULL},
    };
    struct cli_talk t;
    struct buf body;
    int code;

    if (!cli_args(c, options, 3, &argc, argv, &config, &code))
        return code;
    if (argc != 2)
        return cli_usage_error(c, "a DEVICE and a USER are needed");
    buf_init(&body, 64 * KIB);
    if (preview)
        buf_add_text(&body, "{\"unlink\":");
    write_step(&body, argv[0], argv[1], until);
    if (preview)
        buf_add_char(&body, '}');
    if (body.failed) {
        code = cli_error("the ids are too long");
    } else {
        const char *path = preview ? "/v1/identity:preview" : "/v1/identity:unlink";
        code = cli_talk_open(&t, config) ? cli_talk_ask(&t, "POST", path, buf_str(&body)) : EXIT_FAILED;
        if (code == EXIT_OK)
            code = cli_talk_show(&t, json, preview ? show_preview : show_unlinked);
        cli_talk_close(&t);
    }
    buf_deinit(&body);
    return code;
}
