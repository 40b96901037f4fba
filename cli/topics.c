/* waymark topics create|list: the topics on Kafka. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "common/event_log.h"

#define CREATE_MS 30000
#define LIST_MS 10000

static void print(void *arg, const char *line)
{
    (void)arg;
    puts(line);
}

int cli_topics(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *replicas_text = NULL;
    const struct cli_option options[] = {
        {"replicas", "N", "copies of each topic that is made (default: the brokers')", NULL, &replicas_text}};
    uint64_t replicas;
    struct err e = {0};
    int code, r;

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (!cli_number(c, "replicas", replicas_text, 0, 1, 100, &replicas))
        return EXIT_USAGE;
    bool create = argc == 1 && strcmp(argv[0], "create") == 0;
    if (!create && !(argc == 1 && strcmp(argv[0], "list") == 0))
        return cli_usage_error(c, "either create or list");
    struct conf *conf = cli_conf(config);
    if (!conf)
        return EXIT_FAILED;
    if (!conf->kafka) {
        cli_error("%s: event_log is embedded, which has no topics", conf->file);
        conf_free(conf);
        return EXIT_FAILED;
    }
    const struct event_log_kafka_options o = {.properties = conf->kafka_properties,
                                              .property_count = conf->kafka_property_count,
                                              .prefix = conf->topic_prefix,
                                              .partitions = conf->partitions};
    r = create ? event_log_kafka_create(&o, (int)replicas, CREATE_MS, print, NULL, &e)
               : event_log_kafka_list(&o, LIST_MS, print, NULL, &e);
    conf_free(conf);
    return r == 0 ? EXIT_OK : cli_error("%s", e.text);
}
