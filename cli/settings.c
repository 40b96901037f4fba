/* The configuration and the secrets beside it, as commands need them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

struct conf *cli_conf(const char *config)
{
    const char *file = config ? config : "./waymark.yaml";
    struct buf errors;

    buf_init(&errors, 1 << 20);
    struct conf *conf = NULL;
    if (access(file, R_OK) != 0)
        cli_error("there is no readable configuration at %s: 'waymark init' writes one, --config FILE names another",
                  file);
    else if (!(conf = conf_load(file, &errors)))
        fwrite(errors.p, 1, errors.n, stderr);
    buf_deinit(&errors);
    return conf;
}

/* With a slash at its end, or empty. The caller frees. */
static char *folder_of(const char *file)
{
    const char *slash = strrchr(file, '/');

    return slash ? strndup(file, (size_t)(slash - file) + 1) : strdup("");
}

/* The value of "name: value" in the secrets file. */
static char *read_secret(const char *path, const char *name)
{
    FILE *f = fopen(path, "re");
    char line[1024], *found = NULL;
    size_t n = strlen(name);

    if (!f)
        return NULL;
    while (!found && fgets(line, sizeof line, f)) {
        if (strncmp(line, name, n) != 0 || line[n] != ':')
            continue;
        char *value = line + n + 1 + strspn(line + n + 1, " \t");
        value[strcspn(value, " \t\r\n")] = '\0';
        found = strdup(value);
    }
    fclose(f);
    return found;
}

char *cli_secret(const struct conf *conf, const char *name)
{
    const char *variable = !strcmp(name, "token") ? "WAYMARK_TOKEN" : "WAYMARK_SERVER_KEY";
    const char *value = getenv(variable);
    char *folder = folder_of(conf->file), path[4096];

    if (value && *value) {
        free(folder);
        return strdup(value);
    }
    snprintf(path, sizeof path, "%swaymark.secrets", folder);
    free(folder);
    char *secret = read_secret(path, name);
    if (!secret)
        cli_error("no %s: set %s, or keep %s in %s", name, variable, name, path);
    return secret;
}

const char *cli_beacon_key(const struct conf *conf)
{
    for (size_t i = 0; i < conf->collector.key_count; i++)
        if (conf->collector.keys[i].kind == CONF_KEY_BEACON)
            return conf->collector.keys[i].key;
    return NULL;
}
