/* A profile as JSON. Any thread. */
#include "profiler/profile_json.h"

#include <inttypes.h>

#include "common/json.h"
#include "common/limits.h"

void profile_write_ids(struct buf *b, const struct state_profile *p)
{
    struct buf id;

    json_write_key(b, "ids");
    buf_add_char(b, '[');
    json_write_str(b, p->id);
    buf_init(&id, 4 * LIMIT_ID_BYTES + 64);
    for (size_t i = 0; i < p->device_count; i++) {
        buf_reset(&id);
        buf_add_text(&id, "anon:");
        buf_add_str(&id, p->devices[i]);
        buf_add_char(b, ',');
        json_write_str(b, buf_str(&id));
    }
    buf_deinit(&id);
    buf_add_char(b, ']');
}

void profile_write_known(const struct fold_rules *rules, const struct traits_show *show, struct buf *b,
                         const struct state_profile *p, struct str tags)
{
    static const struct traits_rules none = {0};

    json_write_key(b, "facts");
    facts_write_json(&p->facts, rules, b);
    json_write_key(b, "traits");
    traits_write_json(&p->traits, rules->traits ? rules->traits : &none, show, b);
    json_write_key(b, "consent");
    traits_write_consent(&p->traits, b);
    json_write_key(b, "tags");
    buf_add_str(b, str_has(tags) ? tags : STR_LIT("{}"));
}

void profile_write_shown(const struct fold_rules *rules, const struct traits_show *show, struct buf *b,
                         const struct state_profile *p, struct str tags)
{
    buf_add_char(b, '{');
    json_write_member(b, "id", p->id);
    profile_write_ids(b, p);
    json_write_key(b, "version");
    buf_addf(b, "%" PRId64, p->version);
    profile_write_known(rules, show, b, p, tags);
    buf_add_char(b, '}');
}

void profile_write(const struct fold_rules *rules, struct buf *b, const struct state_profile *p, struct str tags)
{
    profile_write_shown(rules, &TRAITS_SHOW_PUBLIC, b, p, tags);
}
