/* sql.h - runs SQL statements on an open registry. Error messages tell the operator what to do. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

struct gw_sharing;

struct gw_registry {
    sqlite3 *db;
    bool writable;
    const struct gw_sharing *sharing; /* NULL: the registry is not shared */
    void *shared;                     /* state of the functions in `sharing` */
    bool detached;                    /* the changes are made only in the copy, and sent to PostgreSQL later */
    bool has_views;
    bool stale; /* the copy was stale when it was opened (copy_state.h) */
};

/* Says where the value of a column is copied to. Create it with the macros below: the compiler then checks the type of
 * the variable. */
struct gw_sql_column {
    int64_t *number;
    bool *flag;
    uint16_t *port;
    char *text;
    size_t cap;                                         /* bytes at text */
    enum { GW_SQL_EMPTY, GW_SQL_CUT, GW_SQL_FAIL } fit; /* what happens if the text does not fit */
};

/* The address of an array's first char; does not compile for a pointer, whose sizeof is not that of the text. */
#define GW_SQL_ARRAY(a) *(1 ? &(a) : (char(*)[sizeof(a)])0)
#define GW_SQL_NUMBER(at) ((struct gw_sql_column){.number = (at)})
#define GW_SQL_FLAG(at) ((struct gw_sql_column){.flag = (at)})
#define GW_SQL_PORT(at) ((struct gw_sql_column){.port = (at)})
/* For a text that identifies something, such as a name or a key. If it does not fit, "" is copied, because a cut text
 * would identify something else. "" is also copied if gw_sql_is_id refuses the text. */
#define GW_SQL_ID(array) GW_SQL_ID_AT(GW_SQL_ARRAY(array), sizeof(array))
#define GW_SQL_ID_AT(at, size) ((struct gw_sql_column){.text = (at), .cap = (size)})
/* For a text that people read, such as a reason. If it does not fit, it is cut. */
#define GW_SQL_TEXT(array)                                                                                             \
    ((struct gw_sql_column){.text = GW_SQL_ARRAY(array), .cap = sizeof(array), .fit = GW_SQL_CUT})
/* For a text that must fit. If it does not, "" is copied, and gw_sql_get fails. */
#define GW_SQL_WHOLE_AT(at, size) ((struct gw_sql_column){.text = (at), .cap = (size), .fit = GW_SQL_FAIL})
/* One struct gw_sql_column for each of the first columns of a row, in their order. */
#define GW_SQL_COLUMNS(...) ((const struct gw_sql_column[]){__VA_ARGS__, (struct gw_sql_column){0}})

/* Returns SQLite's last error, with the message in e. db: NULL if the database could not be opened. */
CMX_MUST_USE cmx_err gw_sql_failed(sqlite3 *db, struct cmx_why *e);

/* A function with the parameter `types` prepares a statement and binds its arguments. types: one letter for each
 * argument; 't': const char * (NULL binds NULL), 'i': int64_t. */

/* Prepares a statement without arguments that was written to `sql`, and frees `sql`. The caller finalizes the
 * statement. */
CMX_MUST_USE cmx_err gw_sql_prepare_made(struct gw_registry *r, sqlite3_stmt **out, sqlite3_str *sql,
                                         struct cmx_why *e);
/* Runs one or more statements that return no rows, each with the same arguments (?1, ?2 and so on); stops after an
 * error. CMX_EEXIST: a statement breaks a constraint, such as a uniqueness constraint. */
CMX_MUST_USE cmx_err gw_sql_run(struct gw_registry *r, struct cmx_why *e, const char *sql, const char *types, ...);
/* Steps to the next row. CMX_ENOENT: there are no more rows. */
CMX_MUST_USE cmx_err gw_sql_step(struct gw_registry *r, sqlite3_stmt *stmt, struct cmx_why *e);
/* Ends one round of a loop over rows. err: the result of processing the current row. If it is an error, returns it;
 * otherwise steps to the next row. */
CMX_MUST_USE cmx_err gw_sql_next(struct gw_registry *r, sqlite3_stmt *stmt, cmx_err err, struct cmx_why *e);
/* Prepares a statement and steps to its first row. CMX_ENOENT: there is no row. The caller finalizes *out, which is
 * NULL if it could not be prepared. */
CMX_MUST_USE cmx_err gw_sql_row(struct gw_registry *r, sqlite3_stmt **out, struct cmx_why *e, const char *sql,
                                const char *types, ...);
/* Reads the number in the first column of the first row. CMX_ENOENT: there is no row, or the column is NULL. out may be
 * a NULL pointer. */
CMX_MUST_USE cmx_err gw_sql_number(struct gw_registry *r, int64_t *out, struct cmx_why *e, const char *sql,
                                   const char *types, ...);
/* Call this after a loop over rows. It finalizes the statement and returns err. After the last row, it returns CMX_OK
 * instead of gw_sql_step's CMX_ENOENT; a CMX_ENOENT from the processing of a row stays an error. */
CMX_MUST_USE cmx_err gw_sql_end(sqlite3_stmt *stmt, cmx_err err);
/* True if the text has no tab, line break, or one of " { } ; which no command stores in a name, address, key or
 * setting. A registry from elsewhere, such as a backup that was tampered with, may have them. They would add lines or
 * statements to the files that are generated from the registry: rules, units, /etc/hosts. */
bool gw_sql_is_id(const char *text);
/* Returns a column as text, never NULL; borrowed until the next step. */
const char *gw_sql_text(sqlite3_stmt *stmt, int column);
/* Copies the first columns of the current row. */
void gw_sql_columns(sqlite3_stmt *stmt, const struct gw_sql_column *columns);
/* Copies columns of the first row. CMX_ENOENT: there is no row, and nothing is copied; CMX_ENOSPC: a text of
 * GW_SQL_WHOLE_AT does not fit. */
CMX_MUST_USE cmx_err gw_sql_get(struct gw_registry *r, struct cmx_why *e, const struct gw_sql_column *columns,
                                const char *sql, const char *types, ...);
