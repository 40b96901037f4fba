/* Any bytes as a configuration: taken or refused with words, never both, nothing lost. */
#include <stdint.h>
#include <stdlib.h>

#include "common/conf.h"
#include "common/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str text = {(const char *)data, n};
    struct buf errors;

    if (n > 64 * KIB)
        return 0;
    buf_init(&errors, MIB);
    struct conf *c = conf_parse("waymark.yaml", text, &errors);
    if ((c != NULL) != (errors.n == 0) || errors.failed)
        abort();
    if (c) {
        if (c->partitions < 1 || c->partitions > LIMIT_PARTITIONS || !c->data || c->data[0] != '/' || !c->blocked ||
            !conf_blocked(c->blocked, STR_LIT("")))
            abort();
        (void)conf_blocked(c->blocked, text);
        for (size_t i = 0; i < c->collector.key_count; i++)
            if (!c->collector.keys[i].name || !c->collector.keys[i].source)
                abort();
    }
    conf_free(c);
    buf_deinit(&errors);
    return 0;
}
