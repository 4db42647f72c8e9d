#include "gateway/shared/pg_rows.h"

#include <string.h>

#include "cmxsafe/core/mem.h"
#include "gateway/shared/pg_link.h"

#define SEND_AT (512 * 1024) /* send the statements when they have this many bytes */

/* ---- the schema ---- */

static void put_table(sqlite3_str *sql, const struct gw_copy_table *t)
{
    sqlite3_str_appendf(sql, "CREATE TABLE IF NOT EXISTS \"%s\"(", t->name);
    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].key)
            sqlite3_str_appendf(sql, "\"%s\" %s NOT NULL,", t->columns[i].name,
                                t->columns[i].integer ? "BIGINT" : "TEXT");
    sqlite3_str_appendall(sql, "revision BIGINT NOT NULL, removed BOOLEAN NOT NULL DEFAULT false, PRIMARY KEY(");
    gw_copy_names(sql, t, true);
    sqlite3_str_appendall(sql, "));");
    /* A column that is NOT NULL and has no default can't be added to a table with rows. Only a table's first version
     * has such columns. */
    for (size_t i = 0; i < t->n; i++) {
        const struct gw_copy_column *c = &t->columns[i];
        if (!c->key)
            sqlite3_str_appendf(sql, "ALTER TABLE \"%s\" ADD COLUMN IF NOT EXISTS \"%s\" %s%s%s%s;", t->name, c->name,
                                c->integer ? "BIGINT" : "TEXT", c->not_null ? " NOT NULL" : "",
                                c->fallback[0] ? " DEFAULT " : "", c->fallback);
    }
    sqlite3_str_appendf(sql, "CREATE INDEX IF NOT EXISTS \"%s_revision\" ON \"%s\"(revision);", t->name, t->name);
}

void gw_pg_rows_schema(sqlite3_str *sql, const struct gw_copy_tables *t)
{
    /* The table has one row: the fleet's id, the versions of programs that may use it, and the revision of the last
     * change. */
    sqlite3_str_appendall(
        sql, "CREATE TABLE IF NOT EXISTS registry(one BOOLEAN PRIMARY KEY DEFAULT true CHECK(one), id TEXT NOT NULL,"
             " schema INTEGER NOT NULL, compatible INTEGER NOT NULL, revision BIGINT NOT NULL);");
    for (size_t i = 0; i < t->n; i++)
        put_table(sql, &t->tables[i]);
}

/* ---- values ---- */

static void put_text(struct gw_pg_writer *w, const char *text, size_t len)
{
    char *quoted = PQescapeLiteral(w->c, text, len);

    if (!quoted) {
        w->err = w->err ? w->err : CMX_EFORMAT; /* the text is not UTF-8 */
        return;
    }
    sqlite3_str_appendall(w->sql, quoted);
    PQfreemem(quoted);
}

static void put_value(struct gw_pg_writer *w, sqlite3_value *v)
{
    if (!v || sqlite3_value_type(v) == SQLITE_NULL)
        sqlite3_str_appendall(w->sql, "NULL");
    else if (sqlite3_value_type(v) == SQLITE_INTEGER)
        sqlite3_str_appendf(w->sql, "%lld", (long long)sqlite3_value_int64(v));
    else
        put_text(w, (const char *)sqlite3_value_text(v), (size_t)sqlite3_value_bytes(v));
}

/* ---- sending ---- */

/* The condition of an UPDATE contains the old values of the columns that it changes (put_update). If an UPDATE changes
 * no row, another gateway has changed or deleted the row meanwhile. */
static cmx_err check_written(void *arg, const PGresult *result, struct cmx_why *e)
{
    (void)arg;
    if (strcmp(PQcmdStatus((PGresult *)(uintptr_t)result), "UPDATE 0") != 0)
        return CMX_OK;
    return cmx_why_fail(e, CMX_EBUSY,
                        "another gateway changed the same entry meanwhile; check the entry, then repeat the command");
}

static void send_text(struct gw_pg_writer *w, struct cmx_why *e)
{
    if (!w->err && (sqlite3_str_length(w->sql) || sqlite3_str_errcode(w->sql)))
        w->err = gw_pg_run_made(w->c, w->sql, check_written, NULL, e);
    else
        sqlite3_free(sqlite3_str_finish(w->sql));
    if (w->err == CMX_EFORMAT)
        cmx_why_set(e, "a text in the change is not UTF-8, which PostgreSQL requires");
}

void gw_pg_writer_begin(struct gw_pg_writer *w, PGconn *c, int64_t revision)
{
    memset(w, 0, sizeof *w);
    w->c = c;
    w->revision = revision;
    w->sql = sqlite3_str_new(NULL);
}

cmx_err gw_pg_writer_end(struct gw_pg_writer *w, struct cmx_why *e)
{
    send_text(w, e);
    return w->err;
}

static void statement_done(struct gw_pg_writer *w, struct cmx_why *e)
{
    w->any = true;
    if (!w->err && sqlite3_str_length(w->sql) > SEND_AT) {
        send_text(w, e);
        w->sql = sqlite3_str_new(NULL);
    }
}

/* ---- statements ---- */

/* Writes the end of an INSERT. It makes the statement replace the row, or the tombstone, that has the same key. */
static void put_upsert_tail(sqlite3_str *sql, const struct gw_copy_table *t, bool merge)
{
    sqlite3_str_appendall(sql, " ON CONFLICT(");
    gw_copy_names(sql, t, true);
    sqlite3_str_appendall(sql, ") DO UPDATE SET revision=excluded.revision,removed=false");
    for (size_t i = 0; i < t->n; i++)
        if (!t->columns[i].key)
            sqlite3_str_appendf(sql, ",\"%s\"=excluded.\"%s\"", t->columns[i].name, t->columns[i].name);
    /* The newer of two observations is kept. */
    if (merge && t->newest)
        sqlite3_str_appendf(sql, " WHERE \"%s\".removed OR \"%s\".\"%s\"<=excluded.\"%s\"", t->name, t->name, t->newest,
                            t->newest);
    sqlite3_str_appendall(sql, ";");
}

static void put_insert_head(sqlite3_str *sql, const struct gw_copy_table *t)
{
    sqlite3_str_appendf(sql, "INSERT INTO \"%s\"(", t->name);
    gw_copy_names(sql, t, false);
    sqlite3_str_appendall(sql, ",revision) ");
}

void gw_pg_writer_row(struct gw_pg_writer *w, const struct gw_copy_table *t, sqlite3_stmt *stmt, bool merge,
                      struct cmx_why *e)
{
    if (w->err)
        return;
    put_insert_head(w->sql, t);
    sqlite3_str_appendall(w->sql, "SELECT ");
    for (size_t i = 0; i < t->n; i++) {
        put_value(w, sqlite3_column_value(stmt, (int)i));
        sqlite3_str_appendf(w->sql, "::%s,", t->columns[i].integer ? "BIGINT" : "TEXT");
    }
    sqlite3_str_appendf(w->sql, "%lld", (long long)w->revision);
    /* An observation of a device that was deleted meanwhile is discarded. */
    if (merge && strcmp(t->columns[0].name, "device") == 0)
        sqlite3_str_appendf(w->sql, " WHERE EXISTS(SELECT 1 FROM device WHERE id=%lld AND NOT removed)",
                            (long long)sqlite3_column_int64(stmt, 0));
    put_upsert_tail(w->sql, t, merge);
    statement_done(w, e);
}

static sqlite3_value *value_at(sqlite3_changeset_iter *it, size_t i, bool old)
{
    sqlite3_value *v = NULL;
    int rc = old ? sqlite3changeset_old(it, (int)i, &v) : sqlite3changeset_new(it, (int)i, &v);

    return rc == SQLITE_OK ? v : NULL;
}

static void put_insert(struct gw_pg_writer *w, const struct gw_copy_table *t, sqlite3_changeset_iter *it)
{
    put_insert_head(w->sql, t);
    sqlite3_str_appendall(w->sql, "VALUES(");
    for (size_t i = 0; i < t->n; i++) {
        put_value(w, value_at(it, i, false));
        sqlite3_str_appendall(w->sql, ",");
    }
    sqlite3_str_appendf(w->sql, "%lld)", (long long)w->revision);
    put_upsert_tail(w->sql, t, false);
}

static void put_key(struct gw_pg_writer *w, const struct gw_copy_table *t, sqlite3_changeset_iter *it)
{
    const char *separator = "";

    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].key) {
            sqlite3_str_appendf(w->sql, "%s\"%s\"=", separator, t->columns[i].name);
            put_value(w, value_at(it, i, true));
            separator = " AND ";
        }
}

/* Writes the condition that the column has its old value. If gw_copy_text_clean may have changed the value, the
 * condition is a pattern: PostgreSQL may have other characters where the copy has replacements, or a longer text. */
static void put_old(struct gw_pg_writer *w, const struct gw_copy_column *column, sqlite3_value *v)
{
    bool is_text = v && sqlite3_value_type(v) == SQLITE_TEXT;
    const char *text = is_text ? (const char *)sqlite3_value_text(v) : "";
    char *pattern = gw_copy_text_is_replaced(text, &column->rule) ? gw_copy_text_pattern(text, &column->rule) : NULL;

    if (pattern) {
        sqlite3_str_appendf(w->sql, " AND \"%s\" LIKE ", column->name);
        put_text(w, pattern, strlen(pattern));
    } else {
        sqlite3_str_appendf(w->sql, " AND \"%s\" IS NOT DISTINCT FROM ", column->name);
        put_value(w, v);
    }
    cmx_mem_free(pattern);
}

static void put_update(struct gw_pg_writer *w, const struct gw_copy_table *t, sqlite3_changeset_iter *it)
{
    sqlite3_str_appendf(w->sql, "UPDATE \"%s\" SET revision=%lld", t->name, (long long)w->revision);
    for (size_t i = 0; i < t->n; i++)
        if (value_at(it, i, false)) {
            sqlite3_str_appendf(w->sql, ",\"%s\"=", t->columns[i].name);
            put_value(w, value_at(it, i, false));
        }
    sqlite3_str_appendall(w->sql, " WHERE NOT removed AND ");
    put_key(w, t, it);
    for (size_t i = 0; !t->newest && i < t->n; i++)
        if (value_at(it, i, false) && !t->columns[i].key)
            put_old(w, &t->columns[i], value_at(it, i, true));
    sqlite3_str_appendall(w->sql, ";");
}

/* Keeps the row as a tombstone, so that the other gateways delete it too. The row may have been deleted already, so the
 * statement is a SELECT: check_written would refuse an UPDATE that changes no row. */
static void put_delete(struct gw_pg_writer *w, const struct gw_copy_table *t, sqlite3_changeset_iter *it)
{
    sqlite3_str_appendf(w->sql, "WITH gone AS (UPDATE \"%s\" SET removed=true,revision=%lld WHERE ", t->name,
                        (long long)w->revision);
    put_key(w, t, it);
    sqlite3_str_appendall(w->sql, " RETURNING 1) SELECT 1 FROM gone LIMIT 1;");
}

static bool is_own_setting(const struct gw_copy_table *t, sqlite3_changeset_iter *it, int op)
{
    sqlite3_value *key = strcmp(t->name, "meta") == 0 ? value_at(it, 0, op != SQLITE_INSERT) : NULL;

    return key && !gw_copy_meta_is_shared((const char *)sqlite3_value_text(key));
}

cmx_err gw_pg_writer_changes(struct gw_pg_writer *w, const struct gw_copy_tables *tables, void *changes, int len,
                             struct cmx_why *e)
{
    sqlite3_changeset_iter *it;
    const char *name;
    int columns;
    int op;
    int rc = sqlite3changeset_start(&it, len, changes);

    while (rc == SQLITE_OK && !w->err && (rc = sqlite3changeset_next(it)) == SQLITE_ROW) {
        const struct gw_copy_table *t;

        rc = sqlite3changeset_op(it, &name, &columns, &op, NULL);
        t = rc == SQLITE_OK ? gw_copy_table_find(tables, name) : NULL;
        if (rc != SQLITE_OK || !t || (size_t)columns != t->n)
            break;
        if (is_own_setting(t, it, op))
            continue;
        if (op == SQLITE_INSERT)
            put_insert(w, t, it);
        else if (op == SQLITE_DELETE)
            put_delete(w, t, it);
        else
            put_update(w, t, it);
        statement_done(w, e);
    }
    if (it)
        sqlite3changeset_finalize(it);
    if (!w->err && rc != SQLITE_DONE)
        w->err = cmx_why_fail(e, CMX_EINTERNAL, "the change can't be read back from SQLite (%d)", rc);
    return w->err;
}
