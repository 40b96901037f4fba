/* Verifying one profile: its facts are the fold of its path and orders, and the statements in its path stand at the
 * homes of their orders. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/verify.h"
#include "proto/codec.h"

struct profile_check {
    struct verify *v;
    struct str id;
    struct state_view view;
    struct arena arena; /* an event */
};

static void differs(struct profile_check *c, const char *what)
{
    verify_say(c->v, "profile %.*s: %s", (int)(c->id.n < 80 ? c->id.n : 80), c->id.p, what);
}

/* --- the path ------------------------------------------------------------------------------------------------- */

static int check_entry(struct profile_check *c, const struct path_entry *entry)
{
    char id[PROFILE_ID_MAX_BYTES];
    enum order_status status;
    struct event_key key;
    struct event ev;

    arena_reset(&c->arena);
    if (event_unpack(entry->bytes, &c->arena, &ev) != CODEC_OK) {
        differs(c, "an event of its path cannot be read");
        return 0;
    }
    key = event_key(&ev);
    if (event_key_cmp(&key, &entry->key) != 0)
        differs(c, "an event stands at another time than its own");
    if (entry_flags(&ev, c->v->state->rules) != entry->flags)
        differs(c, "an event has wrong flags");
    if (!str_eq(profile_id(ev.anonymous_id, ev.user_id, id), c->id) && (str_has(ev.user_id) || c->id.p[0] != 'u'))
        differs(c, "an event of another profile stands in its path");
    if ((entry->flags & ENTRY_ORDER) && order_stated(&ev, &status))
        return verify_stated(c->v, c->id, &ev, entry->bytes);
    return 0;
}

static int check_path(struct profile_check *c)
{
    int rc = 0;

    for (size_t i = 0; i < c->view.path_count && rc == 0; i++)
        rc = check_entry(c, &c->view.path[i]);
    c->v->path_events += c->view.path_count;
    c->v->report->events += c->view.path_count;
    return rc;
}

/* --- facts ---------------------------------------------------------------------------------------------------- */

static int check_facts(struct profile_check *c, struct str kept)
{
    struct facts facts;
    struct buf b;
    int rc = state_view_fold(&c->view, c->v->state->rules, &facts);

    if (rc == -ENOMEM)
        return rc;
    if (rc < 0) {
        differs(c, "its path and orders cannot be folded");
        return 0;
    }
    buf_init(&b, 256 * MIB);
    if (!facts_pack(&facts, &b))
        rc = -ENOMEM;
    else if (!str_eq(buf_str(&b), kept))
        differs(c, "its facts are not the fold of its path and orders");
    buf_deinit(&b);
    facts_deinit(&facts);
    return rc;
}

static int check_traits(struct profile_check *c, struct str kept)
{
    const struct fold_rules *rules = c->v->state->rules;
    struct traits was, traits;
    int rc = traits_unpack(kept, &was);

    if (rc > 0)
        differs(c, "its traits cannot be read");
    if (rc != 0 || !rules->traits) {
        if (rc == 0)
            traits_deinit(&was);
        return rc < 0 ? rc : 0;
    }
    rc = state_view_traits(&c->view, rules, &was, &traits);
    if (rc == 0) {
        rc = traits_differ(&was, &traits, rules->traits);
        if (rc > 0)
            differs(c, "its traits are not those of its path");
        traits_deinit(&traits);
    }
    traits_deinit(&was);
    return rc < 0 ? rc : 0;
}

static int check_all(struct profile_check *c, const struct profile_record *record, struct err *e)
{
    int rc = state_view(c->v->state, c->v->partition, c->id, VIEW_PATH | VIEW_ORDERS | VIEW_UNCOUNTED | VIEW_MARKS,
                        &c->view, e);

    if (rc == -EIO || rc == STATE_NOT_FOUND) {
        differs(c, "its path and orders cannot be read");
        return 0;
    }
    if (rc < 0)
        return rc;
    rc = check_path(c);
    if (rc == 0)
        rc = check_facts(c, record->facts);
    if (rc == 0)
        rc = check_traits(c, record->traits);
    state_view_free(&c->view);
    return rc;
}

int verify_profile(struct verify *v, struct str key, struct str value)
{
    struct profile_check c = {.v = v};
    struct profile_record record;
    struct key_hash hash;
    int rc;

    v->report->profiles++;
    if (profile_record_read(value, &record) < 0) {
        verify_say(v, "a profile cannot be read");
        return 0;
    }
    c.id = record.id;
    hash = partition_hash(v->p, record.id);
    if (key.n != KEY_PREFIX_BYTES || memcmp(key.p + 1, hash.b, KEY_HASH_BYTES) != 0)
        differs(&c, "stands under another key");
    if (record.version <= 0 || record.version > v->p->figures.offset)
        differs(&c, "has a version that no record has");
    arena_init(&c.arena, SIZE_MAX);
    rc = check_all(&c, &record, v->err);
    arena_deinit(&c.arena);
    return rc;
}
