/* waymark backup: a copy of a running profiler's state, a list of those that there are, a check of one. While the
 * profiler makes one a second thread waits for its answer, so that this one can show how far it is. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/backups.h"
#include "cli/cli.h"
#include "common/clock.h"
#include "common/num.h"
#include "profiler/checkpoint.h"

#define MOST_MS (24L * 3600 * 1000)
#define POLL_MS 100
#define POLL_TIMEOUT_MS 5000

/* --- making one ----------------------------------------------------------------------------------------------- */

struct making {
    struct client *client;
    struct client_answer answer;
    struct buf body;
    _Atomic bool over;
};

static void *wait_for_answer(void *arg)
{
    struct making *m = arg;

    client_send(m->client, "POST", "/v1/backups", buf_str(&m->body), MOST_MS, &m->answer);
    atomic_store(&m->over, true);
    return NULL;
}

static uint64_t number(const struct json *o, const char *name)
{
    const struct json *j = json_get(o, name);
    uint64_t v = 0;

    return j && j->type == JSON_NUMBER && num_u64(j->text, &v) == 0 ? v : 0;
}

static void show_progress(struct client *c, struct json_parser *p, struct cli_progress *progress)
{
    struct client_answer a = {0};
    const struct json *root;

    client_send(c, "GET", "/v1/backups", STR_NONE, POLL_TIMEOUT_MS, &a);
    root = a.status == 200 ? client_json(p, &a) : NULL;
    if (root && number(root, "bytes_to_do") > 0)
        cli_progress_show(progress, number(root, "bytes"), number(root, "bytes_to_do"), number(root, "bytes"), false);
    client_answer_free(&a);
}

static void watch(struct making *m, struct client *c, struct json_parser *p)
{
    struct cli_progress progress;

    cli_progress_begin(&progress, "bytes");
    while (!atomic_load(&m->over)) {
        struct timespec pause = {0, POLL_MS * 1000000L};

        nanosleep(&pause, NULL);
        if (!atomic_load(&m->over))
            show_progress(c, p, &progress);
    }
    if (progress.drawn && cli_is_terminal(2))
        fputc('\n', stderr);
}

static void print_made(const struct json *root)
{
    const struct json *name = json_get(root, "name"), *partitions = json_get(root, "partitions");
    struct str text = name ? name->text : STR_NONE;

    printf("backup %.*s: %" PRIu64 " files, %" PRIu64 " bytes\n", STR_ARG(text), number(root, "files"),
           number(root, "bytes"));
    for (const struct json *p = partitions ? partitions->child : NULL; p; p = p->next)
        printf("partition %" PRIu64 " stands at offset %" PRIu64 "\n", number(p, "partition"), number(p, "offset"));
    if (!partitions || !partitions->child)
        printf("nothing of the state is on disk yet\n");
}

static int make_with(struct making *m, struct client *poll, struct json_parser *p)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, wait_for_answer, m) != 0)
        return cli_error("cannot make a thread");
    watch(m, poll, p);
    pthread_join(thread, NULL);
    const struct json *root = m->answer.status == 201 ? client_json(p, &m->answer) : NULL;
    if (!root)
        return cli_error("%.*s", STR_ARG(client_problem(p, &m->answer)));
    print_made(root);
    return EXIT_OK;
}

static int make(const struct conf *conf, const char *name)
{
    char *token = cli_secret(conf, "token"), *bearer = token ? client_bearer(token) : NULL;
    struct making m = {.client = bearer ? client_new(conf->profiler.listen, &conf->profiler.tls, bearer) : NULL};
    struct client *poll = bearer ? client_new(conf->profiler.listen, &conf->profiler.tls, bearer) : NULL;
    struct json_parser *p = json_parser_new();
    int code = EXIT_FAILED;

    buf_init(&m.body, 4096);
    buf_add_char(&m.body, '{');
    json_write_member(&m.body, "name", str_of(name));
    buf_add_char(&m.body, '}');
    if (m.client && poll && p && !m.body.failed)
        code = make_with(&m, poll, p);
    else if (bearer)
        cli_error("out of memory");
    json_parser_free(p);
    client_free(poll);
    client_free(m.client);
    client_answer_free(&m.answer);
    buf_deinit(&m.body);
    free(bearer);
    free(token);
    return code;
}

/* --- those that there are ------------------------------------------------------------------------------------- */

struct listing {
    size_t skip; /* of a path: the folder that all are in */
    bool damaged;
};

static int print_one(void *arg, const char *path, const struct manifest *m, const struct err *why)
{
    struct listing *l = arg;
    struct buf b;

    if (!m) {
        cli_error("%s", why->text);
        l->damaged = true;
        return 0;
    }
    buf_init(&b, 64);
    time_write(&b, m->made_at);
    printf("%s  %.*s  %" PRIu64 " bytes ", path + l->skip, STR_ARG(buf_str(&b)), manifest_bytes(m));
    for (size_t i = 0; i < m->partitions_held; i++)
        printf("%s%u:%" PRId64, i ? "," : " ", (unsigned)m->partitions[i].number, m->partitions[i].offset);
    putchar('\n');
    buf_deinit(&b);
    return 0;
}

static int list(const struct conf *conf)
{
    struct listing l = {.skip = strlen(conf->profiler.backups) + 1};
    struct err e = {0};

    if (checkpoint_each(conf->profiler.backups, print_one, &l, &e) < 0)
        return cli_error("%s", e.text);
    return l.damaged ? EXIT_FAILED : EXIT_OK;
}

/* --- one checked ---------------------------------------------------------------------------------------------- */

static int check(const struct conf *conf, const char *name)
{
    struct cli_backup b;
    int code = cli_backup_open(conf, name, 1, &b);

    if (code != EXIT_OK)
        return code;
    struct err e = {0};
    struct copy_progress progress = cli_backup_progress(&b);
    int rc = checkpoint_check(b.path, b.manifest, NULL, &progress, &e);
    cli_backup_progress_end(&b);
    if (rc == 0)
        printf("%s is whole: %zu files, %" PRIu64 " bytes\n", b.path, b.manifest->file_count,
               manifest_bytes(b.manifest));
    else
        code = cli_error("%s", e.text);
    cli_backup_close(&b);
    return code;
}

int cli_backup(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *to_check = NULL;
    bool listed = false;
    int code;
    const struct cli_option options[] = {
        {"list", NULL, "show the backups that there are: name, time, size, and the offset of each partition", &listed,
         NULL},
        {"check", "DIR", "check every file of a backup, by its folder or its name in the list", NULL, &to_check},
    };

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    if (argc > 1 || (argc && (listed || to_check)) || (listed && to_check))
        return cli_usage_error(c, "one name at most, or --list, or --check DIR");
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    code = listed ? list(conf) : to_check ? check(conf, to_check) : make(conf, argc ? argv[0] : NULL);
    conf_free(conf);
    return code;
}
