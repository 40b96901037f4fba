/* What the commands of audiences, exports and tags share. */
#ifndef WAYMARK_CLI_AUDIENCE_H
#define WAYMARK_CLI_AUDIENCE_H

#include "cli/cli.h"

/* "/v1/audiences/" + the name, percent-encoded, + `rest`; ends with a NUL. b->failed when it is too long. */
void audience_path(struct buf *b, const char *folder, const char *name, const char *rest);
/* Sends and says what went wrong: of a rule that does not compile its line, with a caret under the place. `rule` may
 * be NULL. An exit code; 201 is well, too. */
int audience_ask(struct cli_talk *t, const char *method, const char *path, struct str body, const char *rule);
/* Numbers as people read them: 12,345. */
void show_number(const struct json *n);
struct str audience_text(const struct json *o, const char *key);

/* Asks for an export until it is over, with progress, and tells its manifest, or the answer as it came. */
int export_follow(struct cli_talk *t, const char *id, bool json);
/* Fetches the file, going on where a file of that name ends when `resume` says so; "-" or NULL: standard output. */
int export_fetch(struct cli_talk *t, const char *id, const char *output, bool resume);

/* waymark audience export NAME: its options, as the body of the request has them. */
struct export_wish {
    const char *format, *columns, *campaign, *channel, *hold_out, *purpose, *suppress, *output;
    bool delta, anew, json;
};
int audience_export(struct cli_talk *t, const char *name, const struct export_wish *w);

#endif
