/* Progress for people who wait. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/clock.h"

bool cli_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

void cli_progress_begin(struct cli_progress *p, const char *what)
{
    *p = (struct cli_progress){.what = what, .started_ms = clock_monotonic()};
    p->last_ms = p->started_ms;
}

static void format_left(char *out, size_t n, int64_t seconds)
{
    if (seconds >= 3600)
        snprintf(out, n, "%" PRId64 "h%02" PRId64 "m", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(out, n, "%" PRId64 "m%02" PRId64 "s", seconds / 60, seconds % 60);
}

void cli_progress_show(struct cli_progress *p, uint64_t done, uint64_t total, uint64_t count, bool last)
{
    int64_t now = clock_monotonic();
    bool terminal = cli_is_terminal(STDERR_FILENO);

    if (!last && now - p->last_ms < (terminal ? 200 : 10000))
        return;
    p->last_ms = now;
    double seconds = (double)(now - p->started_ms) / 1000, share = total ? (double)done / (double)total : 1;
    char left[32] = "";
    if (!last && share > 0)
        format_left(left, sizeof left, (int64_t)(seconds * (1 - share) / share));
    const char *tail = left[0] ? " left" : "";
    if (terminal) {
        char bar[31];
        for (int i = 0; i < 30; i++)
            bar[i] = i < (int)(share * 30) ? '#' : '.';
        bar[30] = '\0';
        fprintf(stderr, "\r[%s] %3.0f%%  %" PRIu64 " %s  %.0f/s  %s%s   %s", bar, share * 100, count, p->what,
                seconds > 0 ? (double)count / seconds : 0, left, tail, last ? "\n" : "");
    } else {
        fprintf(stderr, "%3.0f%%  %" PRIu64 " %s  %.0f/s  %s%s\n", share * 100, count, p->what,
                seconds > 0 ? (double)count / seconds : 0, left, tail);
    }
    fflush(stderr);
    p->drawn = true;
}
