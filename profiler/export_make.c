/* Making one export. Everybody of the audience comes by once: who is to be in the file is written to it, who is not is
 * counted; what the campaign notes of them is kept in a file until the rows are there, and put on the log before the
 * export is. All files have names that a start removes until they are whole. The export's thread. */
#include "profiler/export_make.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "profiler/copy_files.h"
#include "profiler/export_judge.h"
#include "profiler/export_marks.h"

const char *const export_reason_names[EXPORT_REASONS] = {"no_consent", "suppressed",    "no_identifier",
                                                         "capped",     "control_group", "held_out"};

struct making {
    const struct export_order *o;
    const struct export_request *r;
    struct export_counts *n;
    struct export_file all;   /* what is fetched */
    struct export_file rows;  /* of a delta: those added, which stand behind the removals */
    struct export_file sent;  /* of a delta */
    struct export_file notes; /* of a campaign: arm, length, id of everybody who is to be marked */
    struct sent *before;
    struct export_judge judge;
    struct buf least;
    struct err *e;
    int rc;
};

/* --- people ---------------------------------------------------------------------------------------------------- */

static int note(struct making *m, struct str id, bool held_out)
{
    struct buf *b = export_file_out(&m->notes);

    m->n->marked++;
    buf_add_char(b, held_out ? 'h' : 'x');
    buf_add_be32(b, (uint32_t)id.n);
    buf_add_str(b, id);
    return export_file_flow(&m->notes, m->e);
}

static int add_row(struct making *m, struct str line, const char *key, unsigned found)
{
    struct export_file *f = m->r->delta ? &m->rows : &m->all;

    for (unsigned i = 0; i < EXPORT_IDENTIFIERS; i++)
        m->n->by[i] += found >> i & 1;
    m->n->rows++;
    m->n->added++;
    export_row(m->r, line, false, key, export_file_out(f));
    return export_file_flow(f, m->e);
}

static uint32_t partition_of(const struct making *m, struct str id)
{
    const char *colon = memchr(id.p, ':', id.n);
    size_t n = colon ? (size_t)(colon - id.p) + 1 : 0;

    return event_log_partition((struct str){id.p + n, id.n - n}, m->o->partitions);
}

/* Only what the one before did not tell. */
static int add_changed(struct making *m, struct str id, struct str line, unsigned found)
{
    struct export_person_hash who = export_person_hash(m->o->key, id);
    char key[2 * EXPORT_PERSON_BYTES + 1];

    export_hex(who.b, sizeof who.b, key);
    buf_reset(&m->least);
    if (export_is_network(m->r))
        export_line_least(m->r, line, &m->least);
    if (m->least.failed)
        return -ENOMEM;
    sent_write(export_file_out(&m->sent), &who, partition_of(m, id), line, buf_str(&m->least));
    int rc = export_file_flow(&m->sent, m->e);
    if (rc == 0 && sent_look(m->before, &who, line, buf_str(&m->least)) == SENT_SAME) {
        m->n->unchanged++;
        return 0;
    }
    return rc < 0 ? rc : add_row(m, line, key, found);
}

static int leave_out(struct making *m, struct str id, enum export_reason why)
{
    m->n->excluded[why]++;
    if (m->r->delta) {
        struct export_person_hash who = export_person_hash(m->o->key, id);

        sent_left_out(m->before, &who, why);
    }
    return why == EXPORT_HELD_OUT && !m->judge.marked ? note(m, id, true) : 0;
}

static int look_at(void *arg, struct str id, struct rule_subject *s)
{
    struct making *m = arg;
    int why;

    m->n->people++;
    atomic_fetch_add(m->o->looked_at, 1);
    why = m->rc = export_judge(&m->judge, id, s, m->e);
    m->n->phones_without_country += m->judge.person.phones_without_country;
    if (why < 0)
        return why;
    if (why < EXPORT_REASONS)
        m->rc = leave_out(m, id, (enum export_reason)why);
    else if (m->r->delta)
        m->rc = add_changed(m, id, buf_str(&m->judge.line), m->judge.found);
    else
        m->rc = add_row(m, buf_str(&m->judge.line), NULL, m->judge.found);
    if (m->rc == 0 && why == EXPORT_REASONS && str_has(m->r->campaign) && !m->judge.marked)
        m->rc = note(m, id, false);
    return m->rc;
}

/* --- removals -------------------------------------------------------------------------------------------------- */

static int remove_row(void *arg, const struct export_person_hash *who, struct str least, unsigned reason)
{
    struct making *m = arg;
    char key[2 * EXPORT_PERSON_BYTES + 1];

    export_hex(who->b, sizeof who->b, key);
    m->n->rows++;
    m->n->removed++;
    m->n->removals[reason < SENT_GONE ? reason : EXPORT_REASONS + reason - SENT_GONE]++;
    export_row(m->r, least, true, key, export_file_out(&m->all));
    return export_file_flow(&m->all, m->e);
}

/* Removals stand first: an address that somebody has given up may be another's by now. */
static int join_delta(struct making *m)
{
    const struct export_file *all = &m->all;
    int rc = sent_each_gone(m->before, m->o->here, m->o->partitions, remove_row, m, m->e);

    m->n->removal_bytes = all->bytes + all->out.n - m->n->head;
    if (rc == 0)
        rc = export_file_append(&m->all, &m->rows, m->e);
    return rc;
}

/* --- what the campaign notes ----------------------------------------------------------------------------------- */

static int put_mark(struct making *m, struct export_marks *marks, bool held_out, struct str id)
{
    char value[256];
    int n = snprintf(value, sizeof value, "{\"arm\":\"%s\",\"export\":\"%s\",\"channel\":\"%s\"}",
                     held_out ? "held_out" : "exported", m->o->id, export_channel_names[m->r->channel]);
    const struct mark mark = {.kind = MARK_CAMPAIGN,
                              .name = m->r->campaign,
                              .value = {value, (size_t)n},
                              .time = m->o->now,
                              .until = TIME_NONE,
                              .source = str_of(m->o->who)};

    return export_marks_put(marks, &mark, id, m->e);
}

static int put_all(struct making *m, struct export_marks *marks)
{
    char id[LIMIT_ID_BYTES * 8];
    FILE *f = fdopen(dup(m->notes.fd), "rb");
    unsigned char head[5];
    int rc = f ? 0 : -errno;

    if (f)
        rewind(f);
    while (rc == 0 && fread(head, sizeof head, 1, f) == 1) {
        size_t n = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];

        rc = n > sizeof id || fread(id, 1, n, f) != n ? -EIO : put_mark(m, marks, head[0] == 'h', (struct str){id, n});
    }
    if (f)
        fclose(f);
    if (rc < 0 && !m->e->text[0])
        err_set(m->e, "what the campaign notes cannot be read: %s", strerror(-rc));
    return rc;
}

static int mark_people(struct making *m)
{
    int rc = export_file_flush(&m->notes, m->e);

    if (rc < 0 || m->n->marked == 0)
        return rc;
    struct export_marks *marks = export_marks_new(m->o->log, m->o->stop);
    if (!marks)
        return -ENOMEM;
    rc = put_all(m, marks);
    if (rc == 0)
        rc = export_marks_wait(marks, m->e);
    export_marks_free(marks);
    return rc;
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

bool export_is_rest(const char *file_name)
{
    return strncmp(file_name, ".ex_", 4) == 0;
}

static int begin_file(struct making *m, struct export_file *f, const char *part)
{
    char name[128];

    snprintf(name, sizeof name, ".%s.%s", m->o->id, part);
    return export_file_begin(f, m->o->folder, name, m->o->reserve, m->e);
}

static int begin(struct making *m)
{
    bool delta = m->r->delta;
    int rc = begin_file(m, &m->all, "all");

    if (rc == 0)
        rc = begin_file(m, &m->notes, "notes");
    if (rc == 0 && delta)
        rc = begin_file(m, &m->rows, "rows");
    if (rc == 0 && delta)
        rc = begin_file(m, &m->sent, "sent");
    if (rc == 0 && delta)
        rc = sent_open(m->o->sent, &m->before, m->e);
    if (rc == 0)
        rc = export_judge_init(&m->judge, m->o);
    if (rc == 0 && delta)
        sent_head(export_file_out(&m->sent));
    if (rc == 0)
        export_head(m->r, export_file_out(&m->all));
    m->n->head = m->all.out.n;
    return rc;
}

static int take_place(struct making *m, const char *from, const char *extension)
{
    char to[sizeof m->all.path];

    if (snprintf(to, sizeof to, "%s/%s.%s", m->o->folder, m->o->id, extension) >= (int)sizeof to)
        return -ENAMETOOLONG;
    return copy_rename(from, to, m->e);
}

static int end(struct making *m)
{
    char unused[EXPORT_HEX + 1];
    int rc = export_file_end(&m->all, m->n->sha256, m->e);

    m->n->bytes = m->all.bytes;
    if (rc == 0 && m->r->delta) {
        rc = export_file_end(&m->sent, unused, m->e);
        if (rc == 0)
            rc = take_place(m, m->sent.path, "sent");
        if (rc < 0)
            unlink(m->sent.path);
    }
    if (rc == 0)
        rc = take_place(m, m->all.path, export_extension(m->r->kind));
    if (rc < 0)
        unlink(m->all.path);
    return rc;
}

static int run(struct making *m)
{
    int rc = begin(m);

    if (rc == 0)
        rc = m->o->walk(m->o->arg, look_at, m, m->o->stop, m->e);
    if (rc == 0)
        rc = m->rc;
    if (rc == 0 && atomic_load(m->o->stop))
        rc = -ECANCELED;
    if (rc == 0 && m->r->delta)
        rc = join_delta(m);
    if (rc == 0)
        rc = mark_people(m);
    return rc == 0 ? end(m) : rc;
}

int export_make(const struct export_order *o, struct export_counts *out, struct err *e)
{
    struct making m = {.o = o, .r = o->request, .n = out, .e = e, .all.fd = -1, .rows.fd = -1};

    m.sent.fd = m.notes.fd = -1;
    *out = (struct export_counts){.people = 0};
    buf_init(&m.least, LIMIT_EXPORT_VALUE);
    int rc = run(&m);
    export_file_drop(&m.all);
    export_file_drop(&m.rows);
    export_file_drop(&m.sent);
    export_file_drop(&m.notes);
    sent_close(m.before);
    export_judge_deinit(&m.judge);
    buf_deinit(&m.least);
    if (rc != 0 && !e->text[0])
        err_set(e, rc == -ECANCELED ? "it was stopped" : "the export failed: %s", strerror(-rc));
    return rc > 0 ? -EIO : rc;
}
