/* pg_rows.h - writes SQL statements for PostgreSQL that create the tables and store rows of the copy. Statements are
 * text, with values quoted by libpq, so that many rows take one round trip. */
#pragma once

#include <libpq-fe.h>

#include "gateway/shared/copy_tables.h"

/* Writes statements that create the tables and columns that are missing in PostgreSQL. */
void gw_pg_rows_schema(sqlite3_str *sql, const struct gw_copy_tables *t);

/* Collects the statements of one change in memory, and sends them when there are many. */
struct gw_pg_writer {
    PGconn *c; /* borrowed */
    int64_t revision;
    sqlite3_str *sql;
    bool any; /* a statement was written since gw_pg_writer_begin */
    cmx_err err;
};

void gw_pg_writer_begin(struct gw_pg_writer *w, PGconn *c, int64_t revision);
/* Sends the remaining statements. CMX_EBUSY: a row in PostgreSQL differs from the copy's; other errors as for
 * gw_pg_run. Frees the memory. Call this once, even after an error. */
CMX_MUST_USE cmx_err gw_pg_writer_end(struct gw_pg_writer *w, struct cmx_why *e);

/* Writes the current row of stmt, which selects all columns of t. merge: the row is an observation, which does not
 * replace a newer one, and is discarded if its device was deleted. */
void gw_pg_writer_row(struct gw_pg_writer *w, const struct gw_copy_table *t, sqlite3_stmt *stmt, bool merge,
                      struct cmx_why *e);

/* Writes a changeset of SQLite's session extension. The statement for a changed row finds the row by its key and by the
 * old values of the changed columns. For a deleted row and for an observation, it uses the key alone. */
CMX_MUST_USE cmx_err gw_pg_writer_changes(struct gw_pg_writer *w, const struct gw_copy_tables *t, void *changes,
                                          int len, struct cmx_why *e);
