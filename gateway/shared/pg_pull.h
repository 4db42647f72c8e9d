/* pg_pull.h - copies rows from PostgreSQL into the copy. The caller has begun a transaction in PostgreSQL and one in
 * the copy. */
#pragma once

#include <libpq-fe.h>

#include "gateway/registry/copy_state.h"
#include "gateway/shared/copy_tables.h"

/* Copies the rows that changed after revision `from`. */
CMX_MUST_USE cmx_err gw_pg_pull_since(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t, int64_t from,
                                      struct gw_copy_changes *out, struct cmx_why *e);

/* Replaces the tables whose digests differ from PostgreSQL's. rights_only: compares only the tables that decide who may
 * do what. */
CMX_MUST_USE cmx_err gw_pg_pull_compared(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t,
                                         bool rights_only, struct gw_copy_changes *out, struct cmx_why *e);

/* Replaces all shared rows. */
CMX_MUST_USE cmx_err gw_pg_pull_all(PGconn *c, struct gw_registry *r, const struct gw_copy_tables *t,
                                    struct gw_copy_changes *out, struct cmx_why *e);

/* Call this once after rows were copied, before the commit. Removes rows that refer to a missing row, because SQLite
 * would refuse the commit. Records how many rows were left out, and which one was the first. all: all tables were
 * compared, so the record of an earlier call is deleted if no row was left out. */
CMX_MUST_USE cmx_err gw_pg_pull_end(struct gw_registry *r, bool all, struct gw_copy_changes *out, struct cmx_why *e);
