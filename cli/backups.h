/* What the commands about backups share: one that is named on the command line, and how far a long job with it is. */
#ifndef WAYMARK_BACKUPS_H
#define WAYMARK_BACKUPS_H

#include "cli/cli.h"
#include "profiler/copy_files.h"
#include "profiler/manifest.h"

struct cli_backup {
    char path[COPY_PATH_BYTES];
    struct manifest *manifest;
    struct cli_progress progress;
    uint64_t done, to_do;
};

/* By its folder, else by its name in the folder of backups. `rounds`: how often its bytes will be gone through. An exit
 * code; what is wrong was said. */
int cli_backup_open(const struct conf *conf, const char *name, unsigned rounds, struct cli_backup *out);
void cli_backup_close(struct cli_backup *b);
struct copy_progress cli_backup_progress(struct cli_backup *b);
void cli_backup_progress_end(const struct cli_backup *b);

#endif
