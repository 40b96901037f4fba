/* waymark receipt: verifies the receipt of an erasure, asks for one again, or prints the key that verifies them. */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/http.h"
#include "common/limits.h"
#include "common/seal.h"

#define FILE_BYTES (64 * KIB)

/* --- verifying ------------------------------------------------------------------------------------------------ */

/* With JSON_PADDING behind it. */
static int read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "re");
    size_t n = 0;

    if (!f)
        return cli_error("%s: %s", path, strerror(errno));
    if (buf_room(out, FILE_BYTES + JSON_PADDING))
        n = fread(out->p, 1, FILE_BYTES, f);
    int code = ferror(f) ? cli_error("%s: %s", path, strerror(errno)) : EXIT_OK;
    fclose(f);
    if (code == EXIT_OK && (n == 0 || n == FILE_BYTES))
        code = cli_error("%s is no receipt", path);
    out->n = n;
    return code;
}

static struct str text_of(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_STRING ? v->text : STR_NONE;
}

static bool read_signature(const struct json *o, struct seal_signature *out)
{
    struct str id = text_of(o, "key"), bytes = text_of(o, "ed25519");
    size_t n = 0;

    *out = (struct seal_signature){0};
    if (!str_has(bytes) || !str_has(id) || id.n >= sizeof out->id)
        return false;
    memcpy(out->id, id.p, id.n);
    return sodium_base642bin(out->bytes, sizeof out->bytes, bytes.p, bytes.n, NULL, &n, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           n == sizeof out->bytes;
}

static void show_number(const struct json *o, const char *key, const char *words)
{
    const struct json *v = json_get(o, key);

    if (v && v->type == JSON_NUMBER)
        printf("  %.*s %s\n", STR_ARG(v->text), words);
}

static void show_member(const struct json *o, const char *key, const char *words)
{
    struct str text = text_of(o, key);

    if (!str_has(text))
        return;
    printf("  %s ", words);
    show_text(text);
    putchar('\n');
}

static void show_receipt(const struct json *receipt, const struct seal_signature *s)
{
    printf("the receipt is good: signed by the key %s\n", s->id);
    show_member(receipt, "id", "erasure");
    show_member(receipt, "profile_hash", "of the profile with the hash");
    show_member(receipt, "until", "events up to");
    show_member(receipt, "requested_at", "asked for at");
    show_member(receipt, "completed_at", "nothing was left at");
    show_number(receipt, "events", "events");
    show_number(receipt, "devices", "devices");
    show_number(receipt, "orders", "orders");
    show_member(json_get(receipt, "kafka"), "ids_and_behaviour_until", "ids and behaviour stand on Kafka until");
}

static int verify_text(const struct conf *conf, const char *path, struct buf *text, struct json_parser *p)
{
    const struct json *root = NULL, *receipt = NULL;
    struct seal_signature s;
    struct err e = {0};

    if (json_parse(p, text->p, text->n, &root, NULL) == JSON_OK)
        receipt = json_get(root, "receipt");
    if (!receipt || receipt->type != JSON_OBJECT || !read_signature(json_get(root, "signature"), &s))
        return cli_error("%s is no signed receipt", path);
    int r = seal_receipt_verify(conf->keys, receipt->raw, &s, &e);
    if (r == SEAL_OK)
        show_receipt(receipt, &s);
    else if (r == SEAL_KEY_UNKNOWN)
        return cli_error("%s is signed by a key that is not in receipt.pub in %s", path, conf->keys);
    else if (r == SEAL_DAMAGED)
        return cli_error("%s is false: it was changed, or is not signed by the key that it names", path);
    else
        return cli_error("%s", e.text);
    return EXIT_OK;
}

static int verify(const char *config, const char *path)
{
    struct conf *conf = cli_conf(config);
    struct json_parser *p = json_parser_new();
    struct buf text;

    buf_init(&text, FILE_BYTES + JSON_PADDING);
    int code = conf && p ? read_file(path, &text) : EXIT_FAILED;
    if (code == EXIT_OK)
        code = verify_text(conf, path, &text, p);
    buf_deinit(&text);
    json_parser_free(p);
    conf_free(conf);
    return code;
}

/* --- the key -------------------------------------------------------------------------------------------------- */

static int print_key(const char *config)
{
    unsigned char pub[SEAL_RECEIPT_PUB_BYTES], der[SEAL_RECEIPT_DER_BYTES];
    char id[17], text[sodium_base64_ENCODED_LEN(SEAL_RECEIPT_DER_BYTES, sodium_base64_VARIANT_ORIGINAL)];
    struct conf *conf = cli_conf(config);
    struct err e = {0};

    if (!conf)
        return EXIT_FAILED;
    int r = seal_receipt_pub(conf->keys, id, pub, &e);
    conf_free(conf);
    if (r != 0)
        return cli_error("%s", e.text[0] ? e.text : strerror(-r));
    seal_receipt_der(pub, der);
    sodium_bin2base64(text, sizeof text, der, sizeof der, sodium_base64_VARIANT_ORIGINAL);
    printf("-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", text);
    return EXIT_OK;
}

/* --- asking again --------------------------------------------------------------------------------------------- */

static int fetch(const char *config, const char *id)
{
    struct cli_talk t;
    struct buf path;
    int code = cli_talk_open(&t, config) ? EXIT_OK : EXIT_FAILED;

    buf_init(&path, 8 * KIB);
    buf_add_text(&path, "/v1/erasures/");
    http_encode_segment(&path, str_of(id));
    buf_add_text(&path, "?wait=2s");
    buf_add_char(&path, '\0');
    if (code == EXIT_OK && path.failed)
        code = cli_error("the id is too long");
    if (code == EXIT_OK)
        client_send(t.client, "GET", path.p, STR_NONE, 30000, &t.answer);
    buf_deinit(&path);
    if (code == EXIT_OK && t.answer.status == 202)
        code = cli_error("it is not over yet: ask again");
    else if (code == EXIT_OK && t.answer.status != 200)
        code = cli_talk_failed(&t);
    else if (code == EXIT_OK)
        code = cli_talk_show(&t, true, NULL);
    cli_talk_close(&t);
    return code;
}

int cli_receipt(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *id = NULL;
    bool key = false;
    const struct cli_option options[] = {
        {"id", "ID", "ask for the receipt of the erasure with that id, and print it", NULL, &id},
        {"key", NULL, "print the public key that verifies receipts, as PEM", &key, NULL},
    };
    int code;

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    if ((argc == 1) + (id != NULL) + key != 1 || argc > 1)
        return cli_usage_error(c, "a FILE, --id ID or --key is needed");
    return key ? print_key(config) : id ? fetch(config, id) : verify(config, argv[0]);
}
