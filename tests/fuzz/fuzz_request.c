/* Splitting a body into events, on any bytes: as many come out as were counted, in order, each as it stands in the
 * body; and the same again from a copy. The first byte says whether order logs are meant. */
#include <stdint.h>
#include <stdlib.h>

#include "collector/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool held)
{
    if (!held)
        abort();
}

/* A hash of all that came out, so that two runs can be compared. */
static uint64_t add(uint64_t h, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const unsigned char *)p)[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void check_item(const struct request_item *item, const char *body, size_t n, uint32_t index)
{
    must(item->index == index);
    must(item->bytes.n > 0 && item->bytes.p >= body && item->bytes.p + item->bytes.n <= body + n);
    if (item->value)
        must(str_eq(item->value->raw, item->bytes));
    else
        must(item->why.text[0] != '\0');
}

static uint64_t run(struct json_parser *p, const uint8_t *data, size_t n, bool orders)
{
    char *body = malloc(n + JSON_PADDING);
    struct request r;
    struct request_item item;
    struct err e = {0};
    uint32_t seen = 0;
    uint64_t h = n;

    must(body != NULL);
    if (n)
        memcpy(body, data, n);
    memset(body + n, 0, JSON_PADDING);
    int rc = request_open(&r, p, body, n, orders, &e);
    h = add(h, &rc, sizeof rc);
    must(rc == REQUEST_OK || e.text[0] != '\0');
    if (rc == REQUEST_OK) {
        struct str key = request_text(r.first, "writeKey");
        h = add(h, key.p, key.n);
        while (request_next(&r, &item)) {
            check_item(&item, body, n, seen++);
            h = add(h, item.bytes.p, item.bytes.n);
        }
        must(seen == r.count && (!r.single || seen == 1));
        must(!request_next(&r, &item));
    }
    free(body);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct json_parser *p;
    bool orders = n > 0 && data[0] == 'o';

    if (!p)
        p = json_parser_new();
    must(p != NULL);
    if (n > 0)
        data++, n--;
    must(run(p, data, n, orders) == run(p, data, n, orders));
    return 0;
}
