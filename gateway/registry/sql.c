#include "gateway/registry/sql.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define DAMAGED "the registry is damaged (%s); restore it from a backup (docs/GATEWAY.md)"

/* Only the text of an SQLITE_ERROR shows whether another program has removed a table or column. All other causes are
 * faults of cmxsafe, such as a wrong statement. */
static cmx_err statement_failed(const char *text, struct cmx_why *e)
{
    if (strstr(text, "no such table:") || strstr(text, "no such column:") || strstr(text, "has no column named"))
        return cmx_why_fail(e, CMX_EFORMAT, DAMAGED, text);
    return cmx_why_fail(e, CMX_EINTERNAL, "the registry does not accept a statement (%s); please report this", text);
}

/* SQLite's extended codes distinguish an interrupted write from a lack of permission. */
cmx_err gw_sql_failed(sqlite3 *db, struct cmx_why *e)
{
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;

    if (code == SQLITE_READONLY_ROLLBACK || code == SQLITE_READONLY_RECOVERY || code == SQLITE_READONLY_CANTINIT)
        return cmx_why_fail(e, CMX_EBUSY,
                            "a write to the registry was interrupted; run 'cmxsafe gateway doctor' once to repair it");
    switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
        return cmx_why_fail(e, CMX_EEXIST, "the entry conflicts with an existing one (%s)", sqlite3_errmsg(db));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return cmx_why_fail(e, CMX_EBUSY,
                            "the registry is locked by another program; find it with 'fuser -v' on the file");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return cmx_why_fail(e, CMX_EFORMAT, DAMAGED, sqlite3_errmsg(db));
    case SQLITE_ERROR:
        return statement_failed(sqlite3_errmsg(db), e);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return cmx_why_fail(e, CMX_EPERM,
                            "the registry can't be opened (%s); check the permissions of the file and its folder",
                            sqlite3_errmsg(db));
    case SQLITE_FULL:
        return cmx_why_fail(e, CMX_ENOSPC, "the registry's disk is full; free some space and try again");
    case SQLITE_IOERR:
        return cmx_why_fail(e, CMX_EIO, "can't read or write the registry (%s); check its disk", sqlite3_errmsg(db));
    case SQLITE_NOMEM:
        return cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    default:
        return cmx_why_fail(e, CMX_EIO, "can't use the registry (%s)", db ? sqlite3_errmsg(db) : "no memory");
    }
}

cmx_err gw_sql_step(struct gw_registry *r, sqlite3_stmt *stmt, struct cmx_why *e)
{
    switch (sqlite3_step(stmt)) {
    case SQLITE_ROW:
        return CMX_OK;
    case SQLITE_DONE:
        return CMX_ENOENT;
    default:
        return gw_sql_failed(r->db, e);
    }
}

cmx_err gw_sql_next(struct gw_registry *r, sqlite3_stmt *stmt, cmx_err err, struct cmx_why *e)
{
    return err ? err : gw_sql_step(r, stmt, e);
}

static cmx_err bind_all(sqlite3_stmt *stmt, const char *types, va_list *ap)
{
    int used = sqlite3_bind_parameter_count(stmt);

    for (int i = 1; *types; i++, types++) {
        int64_t number = *types == 'i' ? va_arg(*ap, int64_t) : 0;
        const char *text = *types == 'i' ? NULL : va_arg(*ap, const char *);

        if (i <= used && (*types == 'i' ? sqlite3_bind_int64(stmt, i, number)
                                        : sqlite3_bind_text(stmt, i, text, -1, SQLITE_TRANSIENT)) != SQLITE_OK)
            return CMX_ENOMEM;
    }
    return CMX_OK;
}

/* Sets *sql to the text after the first statement. */
static cmx_err row_v(struct gw_registry *r, sqlite3_stmt **out, struct cmx_why *e, const char **sql, const char *types,
                     va_list *ap)
{
    if (sqlite3_prepare_v2(r->db, *sql, -1, out, sql) != SQLITE_OK || bind_all(*out, types, ap))
        return gw_sql_failed(r->db, e);
    return gw_sql_step(r, *out, e);
}

cmx_err gw_sql_prepare_made(struct gw_registry *r, sqlite3_stmt **out, sqlite3_str *sql, struct cmx_why *e)
{
    char *text = sqlite3_str_finish(sql);
    cmx_err err = CMX_OK;

    *out = NULL;
    if (!text)
        err = cmx_why_fail(e, CMX_ENOMEM, "out of memory");
    else if (sqlite3_prepare_v2(r->db, text, -1, out, NULL) != SQLITE_OK)
        err = gw_sql_failed(r->db, e);
    sqlite3_free(text);
    return err;
}

cmx_err gw_sql_run(struct gw_registry *r, struct cmx_why *e, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list ap;
    cmx_err err;

    do {
        va_start(ap, types);
        err = row_v(r, &stmt, e, &sql, types, &ap);
        va_end(ap);
        err = gw_sql_end(stmt, err);
    } while (!err && sql[strspn(sql, " \n")]);
    return err;
}

cmx_err gw_sql_row(struct gw_registry *r, sqlite3_stmt **out, struct cmx_why *e, const char *sql, const char *types,
                   ...)
{
    va_list ap;
    cmx_err err;

    va_start(ap, types);
    err = row_v(r, out, e, &sql, types, &ap);
    va_end(ap);
    return err;
}

cmx_err gw_sql_number(struct gw_registry *r, int64_t *out, struct cmx_why *e, const char *sql, const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list ap;
    cmx_err err;

    va_start(ap, types);
    err = row_v(r, &stmt, e, &sql, types, &ap);
    va_end(ap);
    if (!err && sqlite3_column_type(stmt, 0) == SQLITE_NULL)
        err = CMX_ENOENT;
    if (!err && out)
        *out = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return err;
}

cmx_err gw_sql_end(sqlite3_stmt *stmt, cmx_err err)
{
    bool more = sqlite3_stmt_busy(stmt) != 0; /* false after the last row */

    sqlite3_finalize(stmt);
    return err == CMX_ENOENT && !more ? CMX_OK : err;
}

const char *gw_sql_text(sqlite3_stmt *stmt, int column)
{
    const char *s = (const char *)sqlite3_column_text(stmt, column);
    return s ? s : "";
}

bool gw_sql_is_id(const char *text)
{
    return !strpbrk(text, "\t\r\n\"{};");
}

/* Returns false if a text that must fit does not. */
static bool copy_columns(sqlite3_stmt *stmt, const struct gw_sql_column *c)
{
    bool all_fit = true;

    for (int i = 0; c[i].text || c[i].number || c[i].flag || c[i].port; i++) {
        if (c[i].text) {
            bool fits = (size_t)sqlite3_column_bytes(stmt, i) < c[i].cap &&
                        (c[i].fit != GW_SQL_EMPTY || gw_sql_is_id(gw_sql_text(stmt, i)));

            snprintf(c[i].text, fits || c[i].fit == GW_SQL_CUT ? c[i].cap : 1, "%s", gw_sql_text(stmt, i));
            all_fit &= fits || c[i].fit != GW_SQL_FAIL;
        } else if (c[i].number)
            *c[i].number = sqlite3_column_int64(stmt, i);
        else if (c[i].flag)
            *c[i].flag = sqlite3_column_int(stmt, i) != 0;
        else
            *c[i].port = (uint16_t)sqlite3_column_int(stmt, i);
    }
    return all_fit;
}

void gw_sql_columns(sqlite3_stmt *stmt, const struct gw_sql_column *columns)
{
    (void)copy_columns(stmt, columns);
}

cmx_err gw_sql_get(struct gw_registry *r, struct cmx_why *e, const struct gw_sql_column *columns, const char *sql,
                   const char *types, ...)
{
    sqlite3_stmt *stmt;
    va_list ap;
    cmx_err err;

    va_start(ap, types);
    err = row_v(r, &stmt, e, &sql, types, &ap);
    va_end(ap);
    if (!err && !copy_columns(stmt, columns))
        err = CMX_ENOSPC;
    sqlite3_finalize(stmt);
    return err;
}
