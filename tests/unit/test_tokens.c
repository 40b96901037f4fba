/* Tokens of a file that changes while they are looked up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/clock.h"
#include "profiler/tokens.h"

#define WAIT_MS 20000

struct place {
    char folder[64], file[96];
    struct conf_token own;
    struct conf_profiler conf;
    struct stats *stats;
    struct tokens *tokens;
    struct err e;
};

static void hash_of(const char *secret, unsigned char out[32])
{
    crypto_hash_sha256(out, (const unsigned char *)secret, strlen(secret));
}

static void write_whole(const struct place *p, const char *text)
{
    char beside[128];

    snprintf(beside, sizeof beside, "%s.new", p->file);
    FILE *f = fopen(beside, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    assert_int_equal(rename(beside, p->file), 0);
}

/* A line for a secret, from a static buffer. */
static const char *line(const char *name, const char *secret, const char *scopes)
{
    static char text[2][512];
    static int next;
    unsigned char hash[32];
    char hex[65];

    next = !next;
    hash_of(secret, hash);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(text[next], sizeof text[next], "- {name: %s, sha256: %s, scopes: [%s]}\n", name, hex, scopes);
    return text[next];
}

static int set_up(void **state)
{
    struct place *p = calloc(1, sizeof *p);

    assert_true(sodium_init() >= 0);
    strcpy(p->folder, "/tmp/waymark-tokens-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->file, sizeof p->file, "%s/tokens.yaml", p->folder);
    p->own = (struct conf_token){.name = "own", .scopes = SCOPE_LOOKUP};
    hash_of("own secret", p->own.sha256);
    p->conf = (struct conf_profiler){.tokens = &p->own, .token_count = 1, .tokens_file = p->file};
    p->stats = stats_new();
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    char command[128];

    tokens_stop(p->tokens);
    stats_free(p->stats);
    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    assert_int_equal(system(command), 0);
    free(p);
    return 0;
}

static unsigned scopes_of(struct place *p, const char *secret)
{
    struct token_found found = {0};

    return tokens_find(p->tokens, str_of(secret), &found) ? found.scopes : 0;
}

static void wait_scopes(struct place *p, const char *secret, unsigned want)
{
    const struct timespec pause = {.tv_nsec = 5000000};

    for (int64_t end = clock_monotonic() + WAIT_MS; scopes_of(p, secret) != want; nanosleep(&pause, NULL))
        if (clock_monotonic() > end)
            fail_msg("the token has the scopes %u, not %u", scopes_of(p, secret), want);
}

static void wait_metric(struct place *p, const char *text)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    bool found = false;

    for (int64_t end = clock_monotonic() + WAIT_MS; !found; nanosleep(&pause, NULL)) {
        struct buf b;
        buf_init(&b, MIB);
        stats_write(p->stats, &b);
        buf_add_char(&b, '\0');
        found = strstr(b.p, text) != NULL;
        if (!found && clock_monotonic() > end)
            fail_msg("no %s in:\n%s", text, b.p);
        buf_deinit(&b);
    }
}

static void test_without_a_file(void **state)
{
    struct place *p = *state;
    struct token_found found;

    p->conf.tokens_file = NULL;
    assert_int_equal(tokens_start(&p->conf, p->stats, &p->tokens, &p->e), 0);
    assert_true(tokens_find(p->tokens, STR_LIT("own secret"), &found));
    assert_string_equal(found.name, "own");
    assert_int_equal(found.scopes, SCOPE_LOOKUP);
    assert_false(tokens_find(p->tokens, STR_LIT("own secret "), &found));
    assert_false(tokens_find(p->tokens, STR_LIT(""), &found));
}

static void test_a_good_file_counts_soon(void **state)
{
    struct place *p = *state;
    char text[2048];

    write_whole(p, line("crm", "first", "lookup, pii"));
    assert_int_equal(tokens_start(&p->conf, p->stats, &p->tokens, &p->e), 0);
    assert_int_equal(scopes_of(p, "first"), SCOPE_LOOKUP | SCOPE_PII);
    assert_int_equal(scopes_of(p, "own secret"), SCOPE_LOOKUP);
    snprintf(text, sizeof text, "%s%s", line("crm", "first", "lookup"), line("ops", "second", "admin"));
    write_whole(p, text);
    wait_scopes(p, "second", SCOPE_ADMIN);
    assert_int_equal(scopes_of(p, "first"), SCOPE_LOOKUP); /* both at once */
    write_whole(p, "[]");
    wait_scopes(p, "second", 0);
    assert_int_equal(scopes_of(p, "first"), 0);
    assert_int_equal(scopes_of(p, "own secret"), SCOPE_LOOKUP);
    wait_metric(p, "waymark_tokens 1\n");
}

static void test_a_bad_file_changes_nothing(void **state)
{
    struct place *p = *state;
    char text[2048];

    write_whole(p, line("crm", "first", "lookup"));
    assert_int_equal(tokens_start(&p->conf, p->stats, &p->tokens, &p->e), 0);
    const char *const bad[] = {"",
                               "- {name: crm",
                               "- {name: x, sha256: 12, scopes: [lookup]}\n",
                               "- 7\n",
                               "tokens: []\n",
                               line("own", "other", "admin"),         /* a name of the configuration */
                               line("other", "own secret", "admin")}; /* a token of the configuration */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(text, sizeof text, "waymark_tokens_reloads_total{result=\"refused\"} %zu\n", i + 1);
        write_whole(p, bad[i]);
        wait_metric(p, text);
        wait_metric(p, "waymark_tokens_file_good 0\n");
        assert_int_equal(scopes_of(p, "first"), SCOPE_LOOKUP);
        assert_int_equal(scopes_of(p, "own secret"), SCOPE_LOOKUP);
        assert_int_equal(scopes_of(p, "other"), 0);
    }
    assert_int_equal(unlink(p->file), 0);
    snprintf(text, sizeof text, "waymark_tokens_reloads_total{result=\"refused\"} %zu\n", sizeof bad / sizeof *bad + 1);
    wait_metric(p, text);
    assert_int_equal(scopes_of(p, "first"), SCOPE_LOOKUP);
    write_whole(p, line("crm", "first", "admin"));
    wait_scopes(p, "first", SCOPE_ADMIN);
    wait_metric(p, "waymark_tokens_file_good 1\n");
}

static void test_a_bad_file_at_the_start(void **state)
{
    struct place *p = *state;

    write_whole(p, "- {name: x}\n");
    assert_true(tokens_start(&p->conf, p->stats, &p->tokens, &p->e) < 0);
    assert_non_null(strstr(p->e.text, "tokens.yaml:1:3: a token needs"));
}

/* Written in place, and within one tick of the clock's: it counts in the end. */
static void test_a_file_that_is_written_in_place(void **state)
{
    struct place *p = *state;

    write_whole(p, line("crm", "first", "lookup"));
    assert_int_equal(tokens_start(&p->conf, p->stats, &p->tokens, &p->e), 0);
    for (int i = 0; i < 20; i++) {
        FILE *f = fopen(p->file, "we");
        fputs(line("crm", i == 19 ? "last!" : "first", "lookup"), f);
        fclose(f);
        tokens_reload(p->tokens);
    }
    wait_scopes(p, "last!", SCOPE_LOOKUP);
    assert_int_equal(scopes_of(p, "first"), 0);
}

struct reader {
    struct place *place;
    _Atomic bool *stop;
    uint64_t looked;
    pthread_t thread;
};

static void *look_up(void *arg)
{
    struct reader *r = arg;
    struct token_found found;

    while (!atomic_load(r->stop)) {
        if (!tokens_find(r->place->tokens, STR_LIT("first"), &found) || strcmp(found.name, "crm") != 0)
            abort(); /* it stands in every file */
        r->looked++;
    }
    return NULL;
}

static void test_readers_never_see_half_of_it(void **state)
{
    struct place *p = *state;
    struct reader readers[3];
    _Atomic bool stop = false;
    char text[2048], want[96];

    write_whole(p, line("crm", "first", "lookup"));
    assert_int_equal(tokens_start(&p->conf, p->stats, &p->tokens, &p->e), 0);
    for (int i = 0; i < 3; i++) {
        readers[i] = (struct reader){.place = p, .stop = &stop};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, look_up, &readers[i]), 0);
    }
    for (unsigned i = 1; i <= 50; i++) {
        snprintf(text, sizeof text, "%s%s", line("crm", "first", "lookup"), i % 2 ? line("b", "second", "admin") : "");
        write_whole(p, text);
        tokens_reload(p->tokens);
        snprintf(want, sizeof want, "waymark_tokens %u\n", i % 2 ? 3 : 2);
        wait_metric(p, want);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(readers[i].thread, NULL);
        assert_true(readers[i].looked > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_good_file_counts_soon, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_bad_file_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_bad_file_at_the_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_written_in_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_readers_never_see_half_of_it, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
