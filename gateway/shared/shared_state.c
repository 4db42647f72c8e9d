#include "gateway/shared/shared_state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"
#include "gateway/registry/copy_state.h"
#include "gateway/registry/event.h"
#include "gateway/registry/term.h"
#include "gateway/shared/pg_link.h"
#include "gateway/shared/pg_pull.h"

/* For this long after a failure, observations are stored only in the copy; then PostgreSQL is tried again. */
#define AWAY_MS 5000
/* The observations that are sent later begin this long before the first transaction that could not reach PostgreSQL. */
#define MERGE_SLACK_S 5

/* shared_close keeps its connection here for the next gw_shared_attach, so that a process that writes often does not
 * connect each time. */
static struct gw_shared *idle;
static uint64_t away_until_ms;

/* ---- the connection ---- */

cmx_err gw_shared_connect(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    char text[64];

    memset(&s->server, 0, sizeof s->server);
    if (!s->any_server && gw_meta_get(r, GW_META_SERVER, text, sizeof text) == CMX_OK &&
        sscanf(text, "%23[0-9] %18lld", s->server.system, &s->server.timeline) != 2)
        memset(&s->server, 0, sizeof s->server);
    return gw_pg_open(&s->c, s->url, &s->server, e);
}

cmx_err gw_shared_open(struct gw_shared **out, struct gw_registry *r, const char *url, struct cmx_why *e)
{
    struct gw_shared *s = cmx_mem_alloc(sizeof *s);
    cmx_err err;

    *out = NULL;
    if (!s)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    snprintf(s->url, sizeof s->url, "%s", url);
    err = gw_shared_connect(s, r, e);
    if (!err)
        err = gw_pg_run(s->c, "LISTEN cmxsafe", NULL, NULL, e);
    if (err) {
        gw_shared_close(s);
        return err;
    }
    *out = s;
    return CMX_OK;
}

void gw_shared_close(struct gw_shared *s)
{
    if (!s)
        return;
    if (s->session)
        sqlite3session_delete(s->session);
    PQfinish(s->c);
    cmx_mem_free(s);
}

cmx_err gw_shared_read_head(void *arg, const PGresult *rows, struct cmx_why *e)
{
    struct gw_shared_head *h = arg;

    if (PQresultStatus(rows) != PGRES_TUPLES_OK)
        return CMX_OK; /* the statement was BEGIN */
    h->found = PQntuples(rows) == 1;
    if (!h->found)
        return cmx_why_fail(e, CMX_ENOENT,
                            "the PostgreSQL database holds no registry; restore a backup in PostgreSQL, or replace "
                            "the registry as docs/SCALE_OUT.md describes");
    snprintf(h->id, sizeof h->id, "%s", PQgetvalue(rows, 0, 0));
    h->schema = strtoll(PQgetvalue(rows, 0, 1), NULL, 10);
    h->compatible = strtoll(PQgetvalue(rows, 0, 2), NULL, 10);
    h->revision = strtoll(PQgetvalue(rows, 0, 3), NULL, 10);
    h->pruned = strtoll(PQgetvalue(rows, 0, 4), NULL, 10);
    return CMX_OK;
}

int64_t gw_shared_revision(struct gw_registry *r)
{
    char text[24];
    uint64_t n;

    return gw_meta_get(r, "revision", text, sizeof text) || cmx_text_u64(text, 0, INT64_MAX, &n) ? 0 : (int64_t)n;
}

cmx_err gw_shared_set_revision(const struct gw_shared *s, struct gw_registry *r, int64_t revision, struct cmx_why *e)
{
    char text[64];
    cmx_err err;

    snprintf(text, sizeof text, "%lld", (long long)revision);
    err = gw_meta_set(r, "revision", text, e);
    snprintf(text, sizeof text, "%s %lld", s->server.system, s->server.timeline);
    if (!err && s->server.system[0])
        err = gw_meta_set(r, GW_META_SERVER, text, e);
    return err ? err
               : gw_sql_run(r, e,
                            "INSERT INTO main.meta(key, value) VALUES('" GW_META_STORED "', 1) ON CONFLICT(key) DO"
                            " UPDATE SET value = value + 1",
                            "");
}

void gw_shared_origin(struct gw_registry *r, char out[GW_SHARED_ORIGIN_MAX])
{
    const char *path = sqlite3_db_filename(r->db, "main");
    struct gw_now now;
    struct stat st;

    gw_now(&now);
    out[0] = '\0';
    if (path && stat(path, &st) == 0 && now.boot[0])
        snprintf(out, GW_SHARED_ORIGIN_MAX, " %s:%llx:%llx", now.boot, (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino);
}

cmx_err gw_shared_check_head(const struct gw_shared_head *h, struct gw_registry *r, struct cmx_why *e)
{
    char id[GW_SHARED_ID_MAX];

    if (gw_meta_get(r, "registry_id", id, sizeof id) == CMX_OK && strcmp(id, h->id) != 0)
        return cmx_why_fail(e, CMX_EFORMAT,
                            "this URL leads to another fleet's registry; give the URL of this fleet's registry with "
                            "'cmxsafe gateway init --registry'");
    if (h->compatible > GW_SCHEMA_VERSION)
        return cmx_why_fail(
            e, CMX_ENOTSUP,
            "the registry has version %lld, but this program supports only versions up to %d; install a "
            "newer cmxsafe on this gateway",
            (long long)h->schema, GW_SCHEMA_VERSION);
    return CMX_OK;
}

/* ---- a transaction ---- */

cmx_err gw_shared_tables(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    return s->tables.n ? CMX_OK : gw_copy_tables_read(r, &s->tables, e);
}

/* Creates tables and columns that this program's version added. */
cmx_err gw_shared_run_schema(struct gw_shared *s, struct cmx_why *e)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);

    gw_pg_rows_schema(sql, &s->tables);
    return gw_pg_run_made(s->c, sql, NULL, NULL, e);
}

cmx_err gw_shared_upgrade_schema(struct gw_shared *s, struct cmx_why *e)
{
    char sql[128];
    cmx_err err;

    if (s->head.schema >= GW_SCHEMA_VERSION)
        return CMX_OK;
    err = gw_shared_run_schema(s, e);
    snprintf(sql, sizeof sql, "UPDATE registry SET schema=%d, compatible=greatest(compatible,%d)", GW_SCHEMA_VERSION,
             GW_SHARED_COMPATIBLE);
    s->dirty = true;
    return err ? err : gw_pg_run(s->c, sql, NULL, NULL, e);
}

cmx_err gw_shared_send_rows(struct gw_pg_writer *w, struct gw_registry *r, const struct gw_copy_table *t, bool observed,
                            int64_t since, struct cmx_why *e)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_stmt *stmt;
    cmx_err err;

    sqlite3_str_appendall(sql, "SELECT ");
    gw_copy_names(sql, t, false);
    sqlite3_str_appendf(sql, " FROM main.\"%s\" WHERE %s", t->name, t->filter);
    if (observed)
        sqlite3_str_appendf(sql, " AND \"%s\" >= %lld", t->time, (long long)since);
    err = gw_sql_prepare_made(r, &stmt, sql, e);
    if (!err)
        err = gw_sql_step(r, stmt, e);
    while (!err) {
        gw_pg_writer_row(w, t, stmt, observed, e);
        err = gw_sql_next(r, stmt, w->err, e);
    }
    return gw_sql_end(stmt, err);
}

/* Sends the observations that were stored while PostgreSQL could not be reached. */
static cmx_err send_notes(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    struct gw_pg_writer w;
    char text[24];
    uint64_t from;
    cmx_err err = CMX_OK;
    cmx_err sent;

    if (gw_meta_get(r, "detached", text, sizeof text) || cmx_text_u64(text, 0, INT64_MAX, &from))
        return CMX_OK;
    gw_pg_writer_begin(&w, s->c, s->head.revision + 1);
    for (size_t i = 0; !err && i < s->tables.n; i++)
        if (s->tables.tables[i].newest)
            err = gw_shared_send_rows(&w, r, &s->tables.tables[i], true, (int64_t)from - MERGE_SLACK_S, e);
    s->dirty |= w.any;
    sent = gw_pg_writer_end(&w, e);
    if (!err)
        err = sent;
    return err ? err : gw_sql_run(r, e, "DELETE FROM main.meta WHERE key = 'detached'", "");
}

cmx_err gw_shared_record(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    if (sqlite3session_create(r->db, "main", &s->session) != SQLITE_OK ||
        sqlite3session_attach(s->session, NULL) != SQLITE_OK)
        return cmx_why_fail(e, CMX_ENOMEM, "SQLite can't record the changes");
    return gw_event_number(r, e);
}

/* Brings the copy up to date and starts recording changes. */
cmx_err gw_shared_begin_on_copy(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    struct gw_copy_changes pulled = {0};
    bool all;
    int64_t from;
    cmx_err err = gw_registry_begin_own(r, e);

    if (!err)
        err = gw_sql_run(r, e, "PRAGMA defer_foreign_keys = ON", "");
    if (!err)
        err = send_notes(s, r, e);
    from = gw_shared_revision(r);
    all = !from || from > s->head.revision || from < s->head.pruned;
    if (!err && (s->dirty || from != s->head.revision))
        err = all ? gw_pg_pull_all(s->c, r, &s->tables, &pulled, e)
                  : gw_pg_pull_since(s->c, r, &s->tables, from, &pulled, e);
    if (!err)
        err = gw_pg_pull_end(r, all, &pulled, e);
    /* Leaves marks in table meta for the follower, which applies these changes if the caller does not, and logs how
     * many texts were replaced. */
    if (!err && pulled.rights)
        err = gw_sql_run(r, e, "INSERT OR IGNORE INTO main.meta(key, value) VALUES('unapplied', '')", "");
    if (!err && pulled.claims)
        err = gw_sql_run(r, e, "INSERT OR IGNORE INTO main.meta(key, value) VALUES('unapplied_claims', '')", "");
    if (!err && pulled.unclean)
        err = gw_sql_run(r, e,
                         "INSERT INTO main.meta(key, value) VALUES('unclean', ?) ON CONFLICT(key) DO UPDATE SET value ="
                         " value + excluded.value",
                         "i", (int64_t)pulled.unclean);
    if (!err)
        err = gw_shared_set_revision(s, r, s->head.revision, e);
    return err ? err : gw_shared_record(s, r, e);
}

cmx_err gw_shared_lock(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    cmx_err err = gw_pg_run(s->c, "BEGIN; " GW_SHARED_HEAD_SQL " FOR UPDATE", gw_shared_read_head, &s->head, e);

    s->locked = true;
    if (!err)
        err = gw_shared_check_head(&s->head, r, e);
    if (!err)
        err = gw_shared_tables(s, r, e);
    return err ? err : gw_shared_upgrade_schema(s, e);
}

static void end_transaction(struct gw_shared *s)
{
    if (s->session)
        sqlite3session_delete(s->session);
    s->session = NULL;
    s->locked = s->dirty = s->observed = false;
}

static void shared_rollback(struct gw_registry *r)
{
    struct gw_shared *s = r->shared;

    r->detached = false;
    if (s->locked && s->c && gw_pg_run(s->c, "ROLLBACK", NULL, NULL, NULL)) {
        PQfinish(s->c);
        s->c = NULL;
    }
    end_transaction(s);
}

/* Takes PostgreSQL's lock. If a kept connection was lost meanwhile, tries once more with a new connection. */
static cmx_err lock_connected(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    bool fresh = !s->c;
    cmx_err err = fresh ? gw_shared_connect(s, r, e) : CMX_OK;

    if (!err)
        err = gw_shared_lock(s, r, e);
    if (err != CMX_ECLOSED || fresh)
        return err;
    end_transaction(s);
    PQfinish(s->c);
    err = gw_shared_connect(s, r, e);
    return err ? err : gw_shared_lock(s, r, e);
}

static cmx_err begin_detached(struct gw_registry *r, struct cmx_why *e)
{
    char now[24];
    cmx_err err = gw_registry_begin_own(r, e);

    snprintf(now, sizeof now, "%lld", (long long)time(NULL));
    r->detached = true;
    return err ? err : gw_sql_run(r, e, "INSERT OR IGNORE INTO meta(key, value) VALUES('detached', ?)", "t", now);
}

static cmx_err shared_begin(struct gw_registry *r, bool observed, struct cmx_why *e)
{
    struct gw_shared *s = r->shared;
    cmx_err err;

    if (observed && cmx_port_now_ms() < away_until_ms)
        return begin_detached(r, e);
    err = lock_connected(s, r, e);
    if (!err)
        err = gw_shared_begin_on_copy(s, r, e);
    s->observed = observed;
    if (!err)
        return CMX_OK;
    gw_registry_rollback(r);
    if (observed && (err == CMX_ECLOSED || err == CMX_EBUSY)) {
        away_until_ms = cmx_port_now_ms() + AWAY_MS;
        return begin_detached(r, e);
    }
    if (err == CMX_ECLOSED)
        cmx_why_set(e, "%s; nothing was changed; repeat the command when PostgreSQL can be reached", e ? e->text : "");
    return err;
}

/* Sends what the transaction changed. */
static cmx_err send_changes(struct gw_shared *s, struct cmx_why *e)
{
    struct gw_pg_writer w;
    void *changes = NULL;
    int len = 0;
    cmx_err err = CMX_OK;
    cmx_err sent;

    if (sqlite3session_changeset(s->session, &len, &changes) != SQLITE_OK)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    gw_pg_writer_begin(&w, s->c, s->head.revision + 1);
    err = gw_pg_writer_changes(&w, &s->tables, changes, len, e);
    s->dirty |= w.any;
    sent = gw_pg_writer_end(&w, e);
    sqlite3_free(changes);
    return err ? err : sent;
}

/* Once PostgreSQL has committed, the change is permanent even if updating the copy fails. This gateway's follower must
 * then fetch it, so the notification of a change names no origin. Only the notification of an observation names this
 * gateway as its origin, and this gateway's follower ignores it. */
static cmx_err commit_there(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    char origin[GW_SHARED_ORIGIN_MAX] = "";
    char sql[160 + GW_SHARED_ORIGIN_MAX];
    cmx_err err = gw_shared_set_revision(s, r, s->head.revision + 1, e);

    if (s->observed)
        gw_shared_origin(r, origin);
    snprintf(sql, sizeof sql, "UPDATE registry SET revision=%lld; SELECT pg_notify('cmxsafe','%lld%s')",
             (long long)s->head.revision + 1, (long long)s->head.revision + 1, origin);
    if (!err)
        err = gw_pg_run(s->c, sql, NULL, NULL, e);
    if (err)
        return err;
    err = gw_pg_run(s->c, "COMMIT", NULL, NULL, e);
    if (err == CMX_ECLOSED)
        cmx_why_set(e, "%s; the change may have been made; check it before you repeat the command", e ? e->text : "");
    return err;
}

static cmx_err shared_commit(struct gw_registry *r, struct cmx_why *e)
{
    struct gw_shared *s = r->shared;
    cmx_err err = CMX_OK;

    if (!s->locked) { /* a transaction without PostgreSQL, see begin_detached */
        r->detached = false;
        return CMX_OK;
    }
    err = send_changes(s, e);
    if (!err)
        err = s->dirty ? commit_there(s, r, e) : gw_pg_run(s->c, "ROLLBACK", NULL, NULL, e);
    if (!err)
        end_transaction(s);
    return err;
}

static void shared_close(struct gw_registry *r)
{
    shared_rollback(r);
    gw_shared_close(idle);
    idle = r->shared;
    r->shared = NULL;
}

const struct gw_sharing gw_shared_calls = {shared_begin, shared_commit, shared_rollback, shared_close};

cmx_err gw_shared_attach(struct gw_registry *r, const char *url, struct cmx_why *e)
{
    struct gw_shared *s = idle;
    cmx_err err = gw_pg_url_check(url, e);

    if (err)
        return err;
    if (s && strcmp(s->url, url) == 0) {
        idle = NULL;
    } else {
        s = cmx_mem_alloc(sizeof *s);
        if (!s)
            return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
        snprintf(s->url, sizeof s->url, "%s", url);
    }
    r->sharing = &gw_shared_calls;
    r->shared = s;
    return CMX_OK;
}

void gw_shared_trust_url(struct gw_registry *r)
{
    struct gw_shared *s = r->shared;

    s->any_server = true;
}
