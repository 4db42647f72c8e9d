#include <string.h>

#include "gateway/registry/sql.h"
#include "gateway/shared/pg_link.h"
#include "gateway/shared/pg_pull.h"
#include "gateway/shared/shared_state.h"

static cmx_err has_notes(struct gw_registry *r, bool *out, struct cmx_why *e)
{
    int64_t exists = 0;
    cmx_err err = gw_sql_number(r, &exists, e, "SELECT EXISTS(SELECT 1 FROM meta WHERE key = 'detached')", "");

    *out = exists != 0;
    return err;
}

/* Runs a transaction that makes no change of its own. It is needed because the steps that begin a transaction send
 * stored observations, and create tables and columns that this version added. */
static cmx_err settle_there(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    const struct gw_sharing *own_sharing = r->sharing;
    void *own_shared = r->shared;
    cmx_err err;

    r->sharing = &gw_shared_calls;
    r->shared = s;
    err = gw_shared_lock(s, r, e);
    if (!err)
        err = gw_shared_begin_on_copy(s, r, e);
    err = gw_registry_end(r, err, e);
    r->sharing = own_sharing;
    r->shared = own_shared;
    return err;
}

/* Lists the ids of the devices in quarantine. Free the list with sqlite3_free. Evidence is stored often, but changes
 * rights only if it changes this list. */
static cmx_err list_quarantined(struct gw_registry *r, char **out, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = gw_sql_row(r, &stmt, e,
                             "SELECT coalesce(group_concat(device), '') FROM (SELECT device FROM quarantined ORDER BY"
                             " device)",
                             "");

    *out = err ? NULL : sqlite3_mprintf("%s", gw_sql_text(stmt, 0));
    sqlite3_finalize(stmt);
    if (!err && !*out)
        err = cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    return err;
}

static cmx_err take_rows(struct gw_shared *s, struct gw_registry *r, enum gw_shared_check check,
                         struct gw_copy_changes *out, struct cmx_why *e)
{
    int64_t from = gw_shared_revision(r);
    cmx_err err = CMX_OK;
    char left_out[8];

    /* If the copy's revision is newer than PostgreSQL's, PostgreSQL was restored from a backup, or lost its last
     * changes in a failover. If it is older than the pruned revision, PostgreSQL has deleted tombstones that the copy
     * needs. */
    if (from > s->head.revision || from < s->head.pruned)
        check = GW_SHARED_ALL;
    /* A row that was left out may have been corrected in PostgreSQL since. */
    if (check == GW_SHARED_RIGHTS && gw_meta_get(r, GW_META_LEFT_OUT, left_out, sizeof left_out) != CMX_ENOENT)
        check = GW_SHARED_ALL;
    if (check != GW_SHARED_ALL && from != s->head.revision)
        err = gw_pg_pull_since(s->c, r, &s->tables, from, out, e);
    if (!err && check != GW_SHARED_CHANGES)
        err = gw_pg_pull_compared(s->c, r, &s->tables, check == GW_SHARED_RIGHTS, out, e);
    if (!err)
        err = gw_pg_pull_end(r, check == GW_SHARED_ALL, out, e);
    return err ? err : gw_shared_set_revision(s, r, s->head.revision, e);
}

static cmx_err take_changes(struct gw_shared *s, struct gw_registry *r, enum gw_shared_check check,
                            struct gw_copy_changes *out, struct cmx_why *e)
{
    char *before;
    char *after = NULL;
    cmx_err err = list_quarantined(r, &before, e);

    if (!err)
        err = take_rows(s, r, check, out, e);
    if (!err)
        err = list_quarantined(r, &after, e);
    if (!err)
        out->rights |= strcmp(before, after) != 0;
    sqlite3_free(before);
    sqlite3_free(after);
    return err;
}

static cmx_err read_there(struct gw_shared *s, struct cmx_why *e)
{
    return gw_pg_run(s->c, GW_SHARED_HEAD_SQL, gw_shared_read_head, &s->head, e);
}

cmx_err gw_shared_behind(struct gw_shared *s, struct gw_registry *r, bool *behind, struct cmx_why *e)
{
    cmx_err err = read_there(s, e);

    gw_shared_origin(r, s->origin);
    if (!err)
        err = gw_shared_check_head(&s->head, r, e);
    if (!err)
        err = has_notes(r, behind, e);
    *behind |= gw_shared_revision(r) != s->head.revision;
    return err;
}

cmx_err gw_shared_check_tables(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e)
{
    cmx_err err = gw_shared_tables(s, r, e);
    sqlite3_str *sql;

    if (err)
        return err;
    sql = sqlite3_str_new(NULL);
    for (size_t i = 0; i < s->tables.n; i++) {
        sqlite3_str_appendall(sql, "SELECT ");
        gw_copy_names(sql, &s->tables.tables[i], false);
        sqlite3_str_appendf(sql, " FROM \"%s\" LIMIT 0;", s->tables.tables[i].name);
    }
    return gw_pg_run_made(s->c, sql, NULL, NULL, e);
}

/* The copy is locked first, so that the snapshot contains every change that a command of this gateway has committed. */
static cmx_err follow_snapshot(struct gw_shared *s, struct gw_registry *r, enum gw_shared_check check,
                               struct gw_copy_changes *out, struct cmx_why *e)
{
    struct cmx_why ignored = {0};
    cmx_err err = gw_registry_begin_own(r, e);
    cmx_err ended;

    if (err)
        return err;
    err = gw_pg_run(s->c, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; " GW_SHARED_HEAD_SQL, gw_shared_read_head,
                    &s->head, e);
    if (!err)
        err = gw_sql_run(r, e, "PRAGMA defer_foreign_keys = ON", "");
    if (!err)
        err = take_changes(s, r, check, out, e);
    err = gw_registry_end(r, err, e);
    ended = err == CMX_ECLOSED ? CMX_OK : gw_pg_run(s->c, "ROLLBACK", NULL, NULL, err ? &ignored : e);
    return err ? err : ended;
}

cmx_err gw_shared_follow(struct gw_shared *s, struct gw_registry *r, enum gw_shared_check check,
                         struct gw_copy_changes *out, struct cmx_why *e)
{
    bool notes;
    cmx_err err = gw_shared_tables(s, r, e);

    if (!err)
        err = read_there(s, e);
    if (!err)
        err = gw_shared_check_head(&s->head, r, e);
    if (!err)
        err = has_notes(r, &notes, e);
    if (!err && (notes || s->head.schema < GW_SCHEMA_VERSION)) {
        err = settle_there(s, r, e);
        *out = (struct gw_copy_changes){.rows = true, .rights = true};
    }
    return err ? err : follow_snapshot(s, r, check, out, e);
}

cmx_err gw_shared_wait(struct gw_shared *s, int timeout_ms, struct cmx_why *e)
{
    return gw_pg_wait(s->c, s->origin, timeout_ms, e);
}
