/* Progress and report of an import. The progress file is small text, replaced by a rename. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "cli/cli.h"
#include "cli/import_report.h"
#include "common/clock.h"

static void read_progress(struct import_report *r)
{
    FILE *f = fopen(r->path, "re");
    char code[48];
    uint64_t n;
    int complete = 0;

    if (!f)
        return;
    /* NOLINTNEXTLINE(cert-err34-c): our own file, replaced whole; a number out of range cannot come of it */
    if (fscanf(f, "acked %" SCNu64 " accepted %" SCNu64 " rows %" SCNu64 " events %" SCNu64 " complete %d", &r->acked,
               &r->accepted, &r->rows, &r->events, &complete) == 5)
        r->complete = complete == 1;
    else
        r->acked = r->accepted = 0;
    /* Refusals of rows that will not be sent again. What reading alone refuses is found anew, unless all is done. */
    /* NOLINTNEXTLINE(cert-err34-c) */
    while (r->reason_count < IMPORT_REASONS && fscanf(f, "%47s %" SCNu64, code, &n) == 2) {
        struct import_reason *x = &r->reasons[r->reason_count++];
        snprintf(x->code, sizeof x->code, "%s", code);
        x->rows = n;
        x->refused = true;
    }
    fclose(f);
}

bool import_report_open(struct import_report *r, const char *data, const char *file, uint64_t mapping,
                        const char *skipped)
{
    char real[PATH_MAX], folder[4000], identity[PATH_MAX + 128];
    struct stat st;

    *r = (struct import_report){0};
    snprintf(r->file, sizeof r->file, "%s", file);
    if (!realpath(file, real) || stat(real, &st) != 0)
        return cli_error("cannot read %s: %s", file, strerror(errno)), false;
    snprintf(folder, sizeof folder, "%s", data);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return cli_error("cannot make %s: %s", folder, strerror(errno)), false;
    snprintf(folder, sizeof folder, "%s/import", data);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return cli_error("cannot make %s: %s", folder, strerror(errno)), false;
    int n = snprintf(identity, sizeof identity, "%s %jd %jd %016" PRIx64, real, (intmax_t)st.st_size,
                     (intmax_t)st.st_mtime, mapping);
    snprintf(r->path, sizeof r->path, "%s/%016" PRIx64, folder, (uint64_t)XXH64(identity, (size_t)n, 0));
    read_progress(r);
    if (skipped && !(r->skipped = fopen(skipped, "ae")))
        return cli_error("cannot write %s: %s", skipped, strerror(errno)), false;
    return true;
}

void import_report_close(struct import_report *r)
{
    if (r->skipped)
        fclose(r->skipped);
    r->skipped = NULL;
}

void import_report_forget(struct import_report *r)
{
    r->rows = r->events = r->accepted = r->acked = 0;
    r->complete = false;
    r->reason_count = 0;
}

static struct import_reason *find_reason(struct import_report *r, struct str code)
{
    for (size_t i = 0; i < r->reason_count; i++)
        if (str_is(code, r->reasons[i].code))
            return &r->reasons[i];
    if (r->reason_count == IMPORT_REASONS)
        return &r->reasons[IMPORT_REASONS - 1];
    struct import_reason *x = &r->reasons[r->reason_count++];
    *x = (struct import_reason){0};
    snprintf(x->code, sizeof x->code, "%.*s", STR_ARG(code));
    return x;
}

void import_report_skip(struct import_report *r, uint64_t row, bool refused, struct str code, struct str message)
{
    struct import_reason *x = find_reason(r, code);

    x->refused = refused;
    if (x->rows < IMPORT_SHOWN)
        x->shown[x->rows] = row;
    x->rows++;
    if (r->skipped)
        fprintf(r->skipped, "%s:%" PRIu64 ": %.*s%s%.*s\n", r->file, row, STR_ARG(code), message.n ? ": " : "",
                STR_ARG(message));
}

void import_report_save(struct import_report *r, bool now)
{
    char temporary[4112];
    int64_t ms = clock_monotonic();

    if (!now && ms - r->saved_ms < 1000)
        return;
    r->saved_ms = ms;
    snprintf(temporary, sizeof temporary, "%s.new", r->path);
    FILE *f = fopen(temporary, "we");
    if (!f)
        return; /* only the comfort of going on is lost */
    fprintf(f, "acked %" PRIu64 " accepted %" PRIu64 " rows %" PRIu64 " events %" PRIu64 " complete %d\n", r->acked,
            r->accepted, r->rows, r->events, r->complete ? 1 : 0);
    for (size_t i = 0; i < r->reason_count; i++)
        if (r->complete || r->reasons[i].refused) /* the rest will be found again */
            fprintf(f, "%s %" PRIu64 "\n", r->reasons[i].code, r->reasons[i].rows);
    if (fclose(f) == 0)
        rename(temporary, r->path);
}

void import_report_print(const struct import_report *r)
{
    uint64_t skipped = 0;

    for (size_t i = 0; i < r->reason_count; i++)
        skipped += r->reasons[i].rows;
    printf("%s: %" PRIu64 " rows read, %" PRIu64 " events made, %" PRIu64 " accepted, %" PRIu64 " skipped\n", r->file,
           r->rows, r->events, r->accepted, skipped);
    for (size_t i = 0; i < r->reason_count; i++) {
        const struct import_reason *x = &r->reasons[i];
        printf("  %-28s %10" PRIu64, x->code, x->rows);
        for (uint64_t k = 0; k < x->rows && k < IMPORT_SHOWN && x->shown[k]; k++)
            printf("%s%" PRIu64, k ? ", " : "   rows ", x->shown[k]);
        printf("%s\n", x->rows > IMPORT_SHOWN && x->shown[0] ? ", …" : "");
    }
    fflush(stdout);
}
