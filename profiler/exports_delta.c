/* Deltas: which export one begins from, and how long what was told is kept. Whoever calls holds the lock of the
 * exports. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "profiler/exports_inside.h"

void delta_name(char out[EXPORT_DELTA_BYTES], const char *audience, const struct export_request *r)
{
    char text[1024];
    int length = snprintf(text, sizeof text, "%s|%s|%.*s|%.*s|%.*s", audience, export_kind_names[r->kind],
                          STR_ARG(r->purpose), STR_ARG(r->campaign), STR_ARG(r->destination));

    out[0] = '\0';
    if (r->delta && length > 0)
        export_sha256((struct str){text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1}, out);
}

bool delta_is_told(const struct export_entry *n)
{
    return n->has_sent && (n->fetched || n->state == ENTRY_DONE);
}

struct export_entry *delta_base(const struct exports *x, const struct export_entry *n)
{
    for (struct export_entry *b = x->entries; b && n->delta[0] && !n->anew; b = b->next) {
        if (b == n || strcmp(b->delta, n->delta) != 0)
            continue;
        /* Of parts: only all of them together were told, so that whoever asked for it has said which. */
        if (n->makers ? strcmp(b->id, n->base) == 0 && b->has_sent : delta_is_told(b))
            return b;
    }
    return NULL;
}

void delta_drop(struct exports *x, struct export_entry *n)
{
    char path[COPY_PATH_BYTES];

    if (n->has_sent && entry_path(x->folder, n, "sent", path))
        unlink(path);
    n->has_sent = false;
}

/* Another part of what was taken may still be lost before it is: then the next one begins where this one did. */
void delta_tidy(struct exports *x, const struct export_entry *taken)
{
    if (!taken->has_sent)
        return;
    for (struct export_entry *n = taken->next; n; n = n->next)
        if (strcmp(n->delta, taken->delta) == 0 && !(taken->makers && strcmp(n->id, taken->base) == 0))
            delta_drop(x, n);
}
