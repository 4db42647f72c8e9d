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

/* Writes a statement for the copy to f. */
typedef void (*statement_fn)(FILE *f, const struct gw_copy_table *t);

static cmx_err prepare_made(struct gw_registry *r, sqlite3_stmt **stmt, statement_fn write,
                            const struct gw_copy_table *t, struct cmx_why *e)
{
    char *sql = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&sql, &len);
    cmx_err err;

    *stmt = NULL;
    if (!f)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    write(f, t);
    if (fclose(f) != 0)
        err = cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    else
        err = gw_sql_prepare(r, stmt, e, sql, "");
    free(sql); /* allocated by open_memstream */
    return err;
}

static void write_delete(FILE *f, const struct gw_copy_table *t)
{
    const char *separator = " WHERE ";

    fprintf(f, "DELETE FROM main.\"%s\"", t->name);
    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].key) {
            fprintf(f, "%s\"%s\"=?%zu", separator, t->columns[i].name, i + 1);
            separator = " AND ";
        }
}

static void write_insert(FILE *f, const struct gw_copy_table *t)
{
    fprintf(f, "INSERT INTO main.\"%s\"(", t->name);
    gw_copy_names(f, t, false);
    fputs(") VALUES(", f);
    for (size_t i = 0; i < t->n; i++)
        fprintf(f, "%s?%zu", i ? "," : "", i + 1);
    fputs(")", f);
}

static void write_delete_all(FILE *f, const struct gw_copy_table *t)
{
    fprintf(f, "DELETE FROM main.\"%s\" WHERE %s", t->name, t->filter);
}

static bool is_clean(const struct gw_copy_table *t, size_t i, const PGresult *rows, int row)
{
    return t->columns[i].integer || gw_copy_text_is_clean(PQgetvalue(rows, row, (int)i), &t->columns[i].rule);
}

/* A row whose key is not clean is left out: nothing can name it. */
static bool key_is_clean(const struct gw_copy_table *t, const PGresult *rows, int row)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->columns[i].key && !is_clean(t, i, rows, row))
            return false;
    return true;
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

/* All changed rows are deleted before any is inserted, because a name may have moved from one row to another. The last
 * column is true for a row that was removed. */
static cmx_err store_rows(struct gw_registry *r, const struct gw_copy_table *t, const PGresult *rows,
                          struct gw_copy_changes *out, struct cmx_why *e)
{
    sqlite3_stmt *delete = NULL;
    sqlite3_stmt *insert = NULL;
    cmx_err err = prepare_made(r, &delete, write_delete, t, e);

    if (!err)
        err = prepare_made(r, &insert, write_insert, t, e);
    for (int i = 0; !err && i < PQntuples(rows); i++)
        if (key_is_clean(t, rows, i))
            err = run_row(r, delete, t, true, rows, i, e);
    for (int i = 0; !err && i < PQntuples(rows); i++)
        if (PQgetvalue(rows, i, (int)t->n)[0] == 'f') {
            out->unclean += count_unclean(t, rows, i);
            if (key_is_clean(t, rows, i))
                err = run_row(r, insert, t, false, rows, i, e);
        }
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

static void write_select(FILE *f, const struct gw_copy_table *t, int64_t from)
{
    fputs("SELECT ", f);
    gw_copy_names(f, t, false);
    fprintf(f, ",removed FROM \"%s\" WHERE (%s) AND ", t->name, t->filter);
    if (from > 0)
        fprintf(f, "revision>%lld;", (long long)from);
    else
        fputs("NOT removed;", f);
}

/* Runs the text written to f as one query; passes its results to each, in the order of the tables. */
static cmx_err run_made(PGconn *c, FILE *f, char **sql, gw_pg_result_fn each, struct pull *p, struct cmx_why *e)
{
    cmx_err err;

    if (fclose(f) != 0)
        err = cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    else
        err = gw_pg_run(c, *sql, each, p, e);
    free(*sql); /* allocated by open_memstream */
    return err;
}

cmx_err gw_pg_pull_since(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t, int64_t from,
                         struct gw_copy_changes *out, struct cmx_why *e)
{
    struct pull p = {.r = r, .tables = t, .out = out};
    char *sql = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&sql, &len);

    if (!f)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    for (size_t i = 0; i < t->n; i++)
        write_select(f, &t->tables[i], from);
    return run_made(c, f, &sql, take_rows, &p, e);
}

static cmx_err clear_table(struct gw_registry *r, const struct gw_copy_table *t, struct cmx_why *e)
{
    sqlite3_stmt *stmt;
    cmx_err err = prepare_made(r, &stmt, write_delete_all, t, e);

    if (!err)
        err = gw_sql_step(r, stmt, e);
    sqlite3_finalize(stmt);
    return err == CMX_ENOENT ? CMX_OK : err;
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
        return cmx_why_fail(e, CMX_EPROTO, "PostgreSQL's answer is no digest");
    err = gw_copy_digest(p->r, &p->tables->tables[p->next], &ours, e);
    p->differs[p->next++] = ours != theirs;
    return err;
}

cmx_err gw_pg_pull_compared(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t, bool rights_only,
                            struct gw_copy_changes *out, struct cmx_why *e)
{
    struct pull p = {.r = r, .tables = t, .rights_only = rights_only, .out = out};
    char *sql = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&sql, &len);
    cmx_err err;

    if (!f)
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    for (size_t i = 0; i < t->n; i++)
        if (is_compared(&p, i))
            gw_copy_digest_sql(f, &t->tables[i]);
    err = run_made(c, f, &sql, take_digest, &p, e);
    for (size_t i = 0; !err && i < t->n; i++)
        if (p.differs[i])
            err = replace_table(c, r, &t->tables[i], out, e);
    return err;
}
