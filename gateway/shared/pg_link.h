/* pg_link.h - one connection to PostgreSQL, with bounded waits: a call fails if PostgreSQL no longer answers. */
#pragma once

#include <libpq-fe.h>
#include <sqlite3.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

#define GW_PG_PATIENCE_MS 15000

/* A server of a database system. Each standby that takes over, and each restore to a point in time, begins a new
 * timeline of its system. */
#define GW_PG_SYSTEM_MAX 24
struct gw_pg_server {
    char system[GW_PG_SYSTEM_MAX]; /* a number; "": unknown */
    long long timeline;
};

/* Connects. On entry, *server is the newest server that the caller knows. On success, it is the server of the
 * connection, if PostgreSQL reports that server. A server of an earlier timeline was replaced and has old data, so it
 * is not used; if the URL names several servers, the others are tried. CMX_EINVAL: as for gw_pg_url_check; CMX_ECLOSED:
 * PostgreSQL can't be reached, or only a server that was replaced; CMX_ENOTSUP: its version is too old. The
 * connection's search path is the schema "cmxsafe". If this program sends nothing for 10 s during a transaction,
 * PostgreSQL aborts the transaction and closes the connection. */
CMX_MUST_USE cmx_err gw_pg_open(PGconn **out, const char *url, struct gw_pg_server *server, struct cmx_why *e);

/* Checks a URL. CMX_EINVAL: it is not "postgresql://...", or holds a password. */
CMX_MUST_USE cmx_err gw_pg_url_check(const char *url, struct cmx_why *e);

/* Runs one or more statements. Calls `each`, which may be NULL, for each result. If `each` fails, it is not called
 * again, and its error is returned after the other results have been read. CMX_ECLOSED: the connection is lost or
 * silent, do not use it again; CMX_EBUSY: a lock was not free in time; CMX_EIO: PostgreSQL refused a statement, and the
 * transaction has to be rolled back. */
typedef cmx_err (*gw_pg_result_fn)(void *arg, const PGresult *result, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_pg_run(PGconn *c, const char *sql, gw_pg_result_fn each, void *arg, struct cmx_why *e);

/* Like gw_pg_run, for statements that were written to `sql`; frees `sql`. */
CMX_MUST_USE cmx_err gw_pg_run_made(PGconn *c, sqlite3_str *sql, gw_pg_result_fn each, void *arg, struct cmx_why *e);

/* Waits for the next notification on a channel that the connection listens to (LISTEN). Ignores notifications whose
 * text ends with `except`, unless `except` is "". CMX_ETIMEOUT: there was none; CMX_ECLOSED: the connection is lost. */
CMX_MUST_USE cmx_err gw_pg_wait(PGconn *c, const char *except, int timeout_ms, struct cmx_why *e);
