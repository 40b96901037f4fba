/* waymark erase: erases a person, waits until nothing of them is left where it may be waited for, and gives the receipt
 * that says so. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/limits.h"

#define TIMEOUT_MS 30000
#define FAILING_MS 120000 /* so long nobody need answer, while a program starts again */
#define SPEAK_MS 10000

struct erase {
    struct cli_talk talk;
    const char *profile, *output;
    char id[64]; /* of the erasure; "" until it is ordered */
    int fd;      /* of `output`; -1: standard output */
    int64_t began, spoke;
};

/* --- before --------------------------------------------------------------------------------------------------- */

static int confirm(const char *profile, bool yes)
{
    char answer[16] = "";

    if (yes)
        return EXIT_OK;
    if (!cli_is_terminal(STDIN_FILENO))
        return cli_error("nothing was erased: say --yes to go on");
    printf("Everything that is known of ");
    show_text(str_of(profile));
    printf(" is erased, for good. Go on? Type yes: ");
    fflush(stdout);
    if (fgets(answer, sizeof answer, stdin) && strcmp(answer, "yes\n") == 0)
        return EXIT_OK;
    return cli_error("nothing was erased");
}

/* Before anything is erased it is known that the receipt can be written. */
static int open_output(struct erase *x)
{
    x->fd = -1;
    if (!x->output)
        return EXIT_OK;
    x->fd = open(x->output, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return x->fd >= 0 ? EXIT_OK : cli_error("nothing was erased: %s: %s", x->output, strerror(errno));
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

static void take_id(struct erase *x)
{
    const struct json *id = json_get(client_json(x->talk.parser, &x->talk.answer), "id");

    if (!x->id[0] && id && id->type == JSON_STRING)
        snprintf(x->id, sizeof x->id, "%.*s", STR_ARG(id->text));
}

static void speak(struct erase *x)
{
    int64_t now = clock_monotonic();
    bool terminal = cli_is_terminal(STDERR_FILENO);

    if (terminal)
        fprintf(stderr, "\rordered as %s; waiting until nothing is left: %lld s ", x->id,
                (long long)(now - x->began) / 1000);
    else if (x->spoke == 0 || now - x->spoke >= SPEAK_MS)
        fprintf(stderr, "waymark: ordered as %s; waiting until nothing is left\n", x->id);
    else
        return;
    fflush(stderr);
    x->spoke = now;
}

static void rest(void)
{
    const struct timespec second = {.tv_sec = 1};

    nanosleep(&second, NULL);
}

/* Asks until there is a receipt. */
static int follow(struct erase *x)
{
    struct client_answer *a = &x->talk.answer;
    int64_t answered = clock_monotonic();
    char path[128];

    snprintf(path, sizeof path, "/v1/erasures/%s?wait=2s", x->id);
    while (a->status != 200) {
        speak(x);
        client_send(x->talk.client, "GET", path, STR_NONE, TIMEOUT_MS, a);
        if (a->status == 200 || a->status == 202)
            answered = clock_monotonic();
        else if ((a->status != 0 && a->status != 503) || clock_monotonic() - answered > FAILING_MS)
            break;
        else
            rest();
    }
    if (x->spoke && cli_is_terminal(STDERR_FILENO))
        fputc('\n', stderr);
    if (a->status == 200)
        return EXIT_OK;
    fprintf(stderr, "waymark: the erasure %s is ordered and goes on; ask for it again: waymark receipt --id %s\n",
            x->id, x->id);
    return cli_talk_failed(&x->talk);
}

static int erase(struct erase *x)
{
    struct client_answer *a = &x->talk.answer;
    struct buf path;
    int code = EXIT_OK;

    buf_init(&path, 8 * KIB);
    buf_add_text(&path, "/v1/profiles/");
    http_encode_segment(&path, str_of(x->profile));
    buf_add_char(&path, '\0');
    x->began = clock_monotonic();
    if (path.failed)
        code = cli_error("the id is too long");
    else
        client_send(x->talk.client, "DELETE", path.p, STR_NONE, TIMEOUT_MS, a);
    buf_deinit(&path);
    if (code == EXIT_OK && a->status == 202) {
        take_id(x);
        code = x->id[0] ? follow(x) : cli_error("the answer names no erasure");
    } else if (code == EXIT_OK && a->status != 200) {
        code = cli_talk_failed(&x->talk);
    }
    return code;
}

/* --- the receipt ---------------------------------------------------------------------------------------------- */

/* As it came: what is signed are bytes. */
static int write_receipt(const struct erase *x)
{
    const struct buf *b = &x->talk.answer.body;
    FILE *out = x->fd >= 0 ? fdopen(x->fd, "w") : stdout;
    bool good = out && fwrite(b->p, 1, b->n, out) == b->n && fputc('\n', out) != EOF && fflush(out) == 0;

    if (good && x->fd >= 0)
        good = fsync(x->fd) == 0;
    if (out && x->fd >= 0)
        good = fclose(out) == 0 && good;
    return good ? EXIT_OK : cli_error("the receipt cannot be written: %s", strerror(errno));
}

static int run(struct erase *x, const char *config, bool yes)
{
    int code = cli_talk_open(&x->talk, config) ? confirm(x->profile, yes) : EXIT_FAILED;

    if (code == EXIT_OK)
        code = open_output(x);
    if (code != EXIT_OK)
        return code;
    code = erase(x);
    if (code == EXIT_OK)
        return write_receipt(x);
    if (x->fd >= 0) {
        close(x->fd);
        unlink(x->output);
    }
    return code;
}

int cli_erase(const struct cli_command *c, int argc, char **argv)
{
    const char *config;
    bool yes = false;
    struct erase x = {.fd = -1};
    const struct cli_option options[] = {
        {"yes", NULL, "do not ask", &yes, NULL},
        {"output", "FILE", "write the receipt there instead of to standard output", NULL, &x.output},
    };
    int code;

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    if (argc != 1)
        return cli_usage_error(c, "exactly one ID is needed");
    x.profile = argv[0];
    code = run(&x, config, yes);
    cli_talk_close(&x.talk);
    return code;
}
