/* A profile as JSON. Any thread. */
#include "profiler/profile_json.h"

#include <inttypes.h>

#include "common/json.h"

void profile_write(const struct fold_rules *rules, struct buf *b, const struct state_profile *p)
{
    buf_add_char(b, '{');
    json_write_member(b, "id", p->id);
    json_write_key(b, "ids");
    buf_add_char(b, '[');
    json_write_str(b, p->id);
    buf_add_char(b, ']');
    json_write_key(b, "version");
    buf_addf(b, "%" PRId64, p->version);
    json_write_key(b, "facts");
    facts_write_json(&p->facts, rules, b);
    buf_add_text(b, ",\"traits\":{},\"tags\":{}}");
}
