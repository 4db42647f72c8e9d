#include "gateway/shared/pg_pull.h"

#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "gateway/shared/pg_link.h"

struct pull {
    struct gw_registry *r;
    const struct gw_copy_tables *tables;
    size_t next; /* index of the table whose result comes next */
    bool differs[GW_COPY_TABLES_MAX];
    bool rights_only;
    struct gw_copy_changes *out;
};

static cmx_err prepare_delete(struct gw_registry *r, sqlite3_stmt **out, const struct gw_copy_table *t,
                              struct cmx_why *e)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    const char *separator = " WHERE ";

    sqlite3_str_appendf(sql, "DELETE FROM main.\"%s\"", t->name);
    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].key) {
            sqlite3_str_appendf(sql, "%s\"%s\"=?%d", separator, t->columns[i].name, (int)i + 1);
            separator = " AND ";
        }
    return gw_sql_prepare_made(r, out, sql, e);
}

static cmx_err prepare_insert(struct gw_registry *r, sqlite3_stmt **out, const struct gw_copy_table *t,
                              struct cmx_why *e)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);

    sqlite3_str_appendf(sql, "INSERT INTO main.\"%s\"(", t->name);
    gw_copy_names(sql, t, false);
    sqlite3_str_appendall(sql, ") VALUES(");
    for (size_t i = 0; i < t->n; i++)
        sqlite3_str_appendf(sql, "%s?%d", i ? "," : "", (int)i + 1);
    sqlite3_str_appendall(sql, ")");
    return gw_sql_prepare_made(r, out, sql, e);
}

static bool is_clean(const struct gw_copy_table *t, size_t i, const PGresult *rows, int row)
{
    return t->columns[i].integer || PQgetisnull(rows, row, (int)i) ||
           gw_copy_text_is_clean(PQgetvalue(rows, row, (int)i), &t->columns[i].rule);
}

/* Returns why the copy can't store the row; NULL: it can. key_only: checks only the key. The key must be clean, because
 * a key with replaced characters would name another row. Addresses must be well-formed, because this gateway writes
 * them into rules and BIRD's configuration. */
static const char *find_fault(const struct gw_copy_table *t, bool key_only, const PGresult *rows, int row)
{
    for (size_t i = 0; i < t->n; i++) {
        bool address = gw_copy_rule_is_address(&t->columns[i].rule);

        if (!t->columns[i].key && (key_only || !address))
            continue;
        if (t->columns[i].key && PQgetisnull(rows, row, (int)i))
            return "its key is NULL";
        if (!is_clean(t, i, rows, row))
            return address ? "its address is malformed" : "its key has unexpected characters";
    }
    return NULL;
}

/* Writes the table and the key of a row: "grants with consumer '1', device '7', port '81'". */
static void name_row(char out[GW_COPY_LEFT_OUT_MAX], const struct gw_copy_table *t, const PGresult *rows, int row)
{
    const char *separator = " with";
    size_t n = (size_t)snprintf(out, GW_COPY_LEFT_OUT_MAX, "%s", t->name);

    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].key && n < GW_COPY_LEFT_OUT_MAX) {
            n += (size_t)snprintf(out + n, GW_COPY_LEFT_OUT_MAX - n, "%s %s '%.80s'", separator, t->columns[i].name,
                                  PQgetvalue(rows, row, (int)i));
            separator = ",";
        }
}

static const struct gw_copy_rule left_out_rule = {GW_COPY_TEXT, GW_COPY_LEFT_OUT_MAX - 1};

static cmx_err leave_out(struct gw_copy_changes *out, const char *row, const char *why, struct cmx_why *e)
{
    char text[2 * GW_COPY_LEFT_OUT_MAX];
    char *clean;

    if (out->left_out++)
        return CMX_OK;
    snprintf(text, sizeof text, "%s: %s", row, why);
    clean = gw_copy_text_clean(text, &left_out_rule);
    if (!clean)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    snprintf(out->first_left_out, sizeof out->first_left_out, "%s", clean);
    cmx_mem_free(clean);
    return CMX_OK;
}

static int bind_text(sqlite3_stmt *stmt, const struct gw_copy_table *t, size_t i, const PGresult *rows, int row)
{
    const char *text = PQgetvalue(rows, row, (int)i);
    char *clean;
    int rc;

    if (is_clean(t, i, rows, row))
        return sqlite3_bind_text(stmt, (int)i + 1, text, -1, SQLITE_STATIC);
    clean = gw_copy_text_clean(text, &t->columns[i].rule);
    rc = clean ? sqlite3_bind_text(stmt, (int)i + 1, clean, -1, SQLITE_TRANSIENT) : SQLITE_NOMEM;
    cmx_mem_free(clean);
    return rc;
}

static cmx_err run_row(struct gw_registry *r, sqlite3_stmt *stmt, const struct gw_copy_table *t, bool keys_only,
                       const PGresult *rows, int row, struct cmx_why *e)
{
    int rc = SQLITE_OK;
    cmx_err err;

    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    for (size_t i = 0; rc == SQLITE_OK && i < t->n; i++) {
        if (PQgetisnull(rows, row, (int)i) || (keys_only && !t->columns[i].key))
            continue;
        rc = t->columns[i].integer
                 ? sqlite3_bind_int64(stmt, (int)i + 1, strtoll(PQgetvalue(rows, row, (int)i), NULL, 10))
                 : bind_text(stmt, t, i, rows, row);
    }
    if (rc != SQLITE_OK)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    err = gw_sql_step(r, stmt, e);
    return err == CMX_ENOENT ? CMX_OK : err;
}

static size_t count_unclean(const struct gw_copy_table *t, const PGresult *rows, int row)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += !is_clean(t, i, rows, row);
    return n;
}

/* Stores the row. A row that the copy can't store (find_fault), or that breaks a constraint of the copy, is left out.
 * If its absence could permit something, the call fails instead. No version of cmxsafe writes a row that has to be left
 * out. */
static cmx_err insert_row(struct gw_registry *r, sqlite3_stmt *insert, const struct gw_copy_table *t,
                          const PGresult *rows, int row, struct gw_copy_changes *out, struct cmx_why *e)
{
    const char *fault = find_fault(t, false, rows, row);
    cmx_err err = fault ? CMX_EEXIST : run_row(r, insert, t, false, rows, row, e);
    char name[GW_COPY_LEFT_OUT_MAX];

    if (!err)
        out->unclean += count_unclean(t, rows, row);
    if (err != CMX_EEXIST)
        return err;
    name_row(name, t, rows, row);
    fault = fault ? fault : sqlite3_errmsg(r->db);
    if (t->restricts) {
        char *clean = gw_copy_text_clean(name, &left_out_rule);

        err = cmx_why_fail(e, CMX_EFORMAT,
                           "this gateway's copy can't store PostgreSQL's row in %s: %s; correct or delete that row "
                           "(docs/SCALE_OUT.md)",
                           clean ? clean : t->name, fault);
        cmx_mem_free(clean);
        return err;
    }
    return leave_out(out, name, fault, e);
}

/* Deletes all changed rows before it inserts any, because a name may have moved from one row to another. The last
 * column of `rows` is 'f', except for a row that was removed in PostgreSQL. */
static cmx_err store_rows(struct gw_registry *r, const struct gw_copy_table *t, const PGresult *rows,
                          struct gw_copy_changes *out, struct cmx_why *e)
{
    sqlite3_stmt *delete = NULL;
    sqlite3_stmt *insert = NULL;
    cmx_err err = prepare_delete(r, &delete, t, e);

    if (!err)
        err = prepare_insert(r, &insert, t, e);
    for (int i = 0; !err && i < PQntuples(rows); i++)
        if (!find_fault(t, true, rows, i))
            err = run_row(r, delete, t, true, rows, i, e);
    for (int i = 0; !err && i < PQntuples(rows); i++)
        if (PQgetvalue(rows, i, (int)t->n)[0] == 'f')
            err = insert_row(r, insert, t, rows, i, out, e);
    sqlite3_finalize(delete);
    sqlite3_finalize(insert);
    return err;
}

static void note_table(struct gw_copy_changes *out, const struct gw_copy_table *t)
{
    out->rows = true;
    out->rights |= t->rights;
    out->claims |= strcmp(t->name, "claim") == 0;
}

static cmx_err take_rows(void *arg, const PGresult *rows, struct cmx_why *e)
{
    struct pull *p = arg;
    const struct gw_copy_table *t;

    if (p->next == p->tables->n || PQresultStatus(rows) != PGRES_TUPLES_OK)
        return CMX_OK;
    t = &p->tables->tables[p->next++];
    if ((size_t)PQnfields(rows) != t->n + 1)
        return cmx_why_fail(e, CMX_EPROTO, "PostgreSQL's answer has an unexpected number of columns");
    if (PQntuples(rows) == 0)
        return CMX_OK;
    note_table(p->out, t);
    return store_rows(p->r, t, rows, p->out, e);
}

static void write_select(sqlite3_str *sql, const struct gw_copy_table *t, int64_t from)
{
    sqlite3_str_appendall(sql, "SELECT ");
    gw_copy_names(sql, t, false);
    sqlite3_str_appendf(sql, ",removed FROM \"%s\" WHERE (%s) AND ", t->name, t->filter);
    if (from > 0)
        sqlite3_str_appendf(sql, "revision>%lld", (long long)from);
    else
        sqlite3_str_appendall(sql, "NOT removed");
    /* Older rows first: if two rows violate a unique constraint, the newer one is left out. */
    sqlite3_str_appendall(sql, " ORDER BY revision;");
}

cmx_err gw_pg_pull_since(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t, int64_t from,
                         struct gw_copy_changes *out, struct cmx_why *e)
{
    struct pull p = {.r = r, .tables = t, .out = out};
    sqlite3_str *sql = sqlite3_str_new(NULL);

    for (size_t i = 0; i < t->n; i++)
        write_select(sql, &t->tables[i], from);
    return gw_pg_run_made(c, sql, take_rows, &p, e);
}

static cmx_err clear_table(struct gw_registry *r, const struct gw_copy_table *t, struct cmx_why *e)
{
    sqlite3_str *sql = sqlite3_str_new(NULL);
    sqlite3_stmt *stmt;
    cmx_err err;

    sqlite3_str_appendf(sql, "DELETE FROM main.\"%s\" WHERE %s", t->name, t->filter);
    err = gw_sql_prepare_made(r, &stmt, sql, e);
    if (!err)
        err = gw_sql_step(r, stmt, e);
    return gw_sql_end(stmt, err);
}

static cmx_err replace_table(PGconn *c, struct gw_registry *r, const struct gw_copy_table *t,
                             struct gw_copy_changes *out, struct cmx_why *e)
{
    struct gw_copy_tables one = {.tables = {*t}, .n = 1};
    cmx_err err = clear_table(r, t, e);

    if (err)
        return err;
    note_table(out, t);
    return gw_pg_pull_since(c, r, &one, 0, out, e);
}

cmx_err gw_pg_pull_all(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t, struct gw_copy_changes *out,
                       struct cmx_why *e)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; !err && i < t->n; i++)
        err = replace_table(c, r, &t->tables[i], out, e);
    return err;
}

static bool is_compared(const struct pull *p, size_t i)
{
    return !p->rights_only || p->tables->tables[i].rights;
}

static cmx_err take_digest(void *arg, const PGresult *rows, struct cmx_why *e)
{
    struct pull *p = arg;
    uint64_t theirs;
    uint64_t ours;
    cmx_err err;

    while (p->next < p->tables->n && !is_compared(p, p->next))
        p->next++;
    if (p->next == p->tables->n || PQntuples(rows) != 1 || cmx_text_u64(PQgetvalue(rows, 0, 0), 0, UINT64_MAX, &theirs))
        return cmx_why_fail(e, CMX_EPROTO, "PostgreSQL's answer is not a digest");
    err = gw_copy_digest(p->r, &p->tables->tables[p->next], &ours, e);
    p->differs[p->next++] = ours != theirs;
    return err;
}

cmx_err gw_pg_pull_compared(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t, bool rights_only,
                            struct gw_copy_changes *out, struct cmx_why *e)
{
    struct pull p = {.r = r, .tables = t, .rights_only = rights_only, .out = out};
    sqlite3_str *sql = sqlite3_str_new(NULL);
    cmx_err err;

    for (size_t i = 0; i < t->n; i++)
        if (is_compared(&p, i))
            gw_copy_digest_sql(sql, &t->tables[i]);
    err = gw_pg_run_made(c, sql, take_digest, &p, e);
    for (size_t i = 0; !err && i < t->n; i++)
        if (p.differs[i])
            err = replace_table(c, r, &t->tables[i], out, e);
    return err;
}

/* Deletes the rows whose foreign key refers to a missing row. fk: the foreign key, as a row of foreign_keys_sql. */
static cmx_err delete_orphans(struct gw_registry *r, sqlite3_stmt *fk, struct gw_copy_changes *out, struct cmx_why *e)
{
    const char *table = gw_sql_text(fk, 0);
    const char *column = gw_sql_text(fk, 1);
    char *sql = sqlite3_mprintf("DELETE FROM main.\"%w\" WHERE \"%w\" NOT IN (SELECT \"%w\" FROM main.\"%w\") RETURNING"
                                " \"%w\"",
                                table, column, gw_sql_text(fk, 3), gw_sql_text(fk, 2), column);
    char name[GW_COPY_LEFT_OUT_MAX];
    sqlite3_stmt *stmt = NULL;
    cmx_err err = sql ? gw_sql_row(r, &stmt, e, sql, "") : cmx_why_fail(e, CMX_ENOMEM, "out of memory");

    while (!err) {
        snprintf(name, sizeof name, "%s with %s '%s'", table, column, gw_sql_text(stmt, 0));
        err = gw_sql_next(r, stmt, leave_out(out, name, "it refers to a missing row", e), e);
    }
    sqlite3_free(sql);
    return gw_sql_end(stmt, err);
}

/* Deletes rows until no foreign key is violated. Without this, SQLite refuses to commit. */
static cmx_err delete_all_orphans(struct gw_registry *r, struct gw_copy_changes *out, struct cmx_why *e)
{
    static const char foreign_keys_sql[] = "SELECT m.name, f.\"from\", f.\"table\", f.\"to\" FROM main.sqlite_master m,"
                                           " pragma_foreign_key_list(m.name) f WHERE m.type = 'table'";
    cmx_err err = CMX_OK;
    int violated = 0;
    int ignored;

    while (!err && sqlite3_db_status(r->db, SQLITE_DBSTATUS_DEFERRED_FKS, &violated, &ignored, 0) == SQLITE_OK &&
           violated) {
        size_t before = out->left_out;
        sqlite3_stmt *fk;

        err = gw_sql_row(r, &fk, e, foreign_keys_sql, "");
        while (!err)
            err = gw_sql_next(r, fk, delete_orphans(r, fk, out, e), e);
        err = gw_sql_end(fk, err);
        if (!err && out->left_out == before)
            return cmx_why_fail(e, CMX_EINTERNAL, "the copy violates a foreign key");
    }
    return err;
}

cmx_err gw_pg_pull_end(struct gw_registry *r, bool all, struct gw_copy_changes *out, struct cmx_why *e)
{
    char text[GW_COPY_LEFT_OUT_MAX + 64];
    cmx_err err = delete_all_orphans(r, out, e);

    if (err)
        return err;
    if (out->left_out) {
        snprintf(text, sizeof text, "%zu, the first is in %s", out->left_out, out->first_left_out);
        return gw_meta_set(r, GW_META_LEFT_OUT, text, e);
    }
    return all ? gw_sql_run(r, e, "DELETE FROM main.meta WHERE key = ?", "t", GW_META_LEFT_OUT) : CMX_OK;
}
