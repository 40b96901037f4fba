/* The names that rules may use, as JSON. Any thread. */
#include "common/json.h"
#include "profiler/rule_check.h"

static void write_member(struct buf *b, const char *key, struct str value)
{
    buf_addf(b, ",\"%s\":", key);
    json_write_str(b, value);
}

static void write_head(struct buf *b, bool *first, struct str name)
{
    buf_add_text(b, *first ? "{\"name\":" : ",{\"name\":");
    json_write_str(b, name);
    *first = false;
}

static void write_facts(struct buf *b)
{
    bool first = true;

    for (size_t i = 0; i < RULE_FACTS; i++) {
        write_head(b, &first, str_of(rule_facts[i].name));
        write_member(b, "type", str_of(rule_type_names[rule_facts[i].type]));
        write_member(b, "description", str_of(rule_facts[i].description));
        buf_add_char(b, '}');
    }
}

/* by.GROUP[KEY].FIGURE, as names with their key left open. */
static void write_groups(struct buf *b)
{
    bool first = true;

    for (unsigned group = 0; group < RULE_BYS; group++) {
        buf_add_text(b, first ? "{\"name\":" : ",{\"name\":");
        first = false;
        buf_addf(b, "\"by.%s\",\"type\":\"number\",\"figures\":[", rule_by_names[group]);
        for (enum rule_figure i = 0, n = 0; group < BY_HOUR && i < FIGURES_NONE; i++)
            if (rule_by_has(group, i))
                buf_addf(b, "%s\"%s\"", n++ ? "," : "", rule_figure_names[i]);
        buf_add_text(b, "]}");
    }
    buf_add_text(b, ",{\"name\":\"amounts_by_currency\",\"type\":\"number\",\"figures\":[");
    for (enum rule_figure i = 0, n = 0; i < FIGURES_NONE; i++)
        if (rule_amounts_have(i))
            buf_addf(b, "%s\"%s\"", n++ ? "," : "", rule_figure_names[i]);
    buf_add_text(b, "]}");
}

static void write_traits(const struct rule_names *names, struct buf *b)
{
    bool first = true;

    for (size_t i = 0; names->traits && i < vocabulary_count(names->traits); i++) {
        const struct trait_kind *kind = vocabulary_at(names->traits, i);
        write_head(b, &first, kind->name);
        write_member(b, "type", str_of(rule_type_names[rule_trait_type(kind)]));
        write_member(b, "group", str_of(trait_group_names[kind->group]));
        buf_addf(b, ",\"personal\":%s}", kind->personal ? "true" : "false");
    }
}

static void write_tags(const struct rule_names *names, struct buf *b)
{
    bool first = true;

    for (size_t i = 0; i < names->tag_count; i++) {
        write_head(b, &first, names->tags[i].name);
        write_member(b, "type", str_of(rule_type_names[names->tags[i].type]));
        buf_add_char(b, '}');
    }
}

static void write_functions(struct buf *b)
{
    bool first = true;

    for (size_t i = 0; i < rule_function_count; i++) {
        write_head(b, &first, str_of(rule_functions[i].name));
        write_member(b, "signature", str_of(rule_functions[i].signature));
        write_member(b, "description", str_of(rule_functions[i].description));
        buf_add_char(b, '}');
    }
}

void rule_catalog_write(const struct rule_names *names, struct buf *b)
{
    buf_add_text(b, "{\"facts\":[");
    write_facts(b);
    buf_add_text(b, "],\"groups\":[");
    write_groups(b);
    buf_add_text(b, "],\"traits\":[");
    write_traits(names, b);
    buf_add_text(b, "],\"tags\":[");
    write_tags(names, b);
    buf_add_text(b, "],\"functions\":[");
    write_functions(b);
    buf_add_text(b, "]}");
}
