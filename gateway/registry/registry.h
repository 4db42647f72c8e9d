/* registry.h - the gateway's one file of truth: which keys exist, whose they are, what each may do. An SQLite database
 * of this library's own schema; it decides nothing about networks and starts no program. One thread a registry.
 *
 * A registry that can't be trusted (missing, damaged, locked for too long, of a newer version, another program's file)
 * does not open: whoever asks then answers "nobody". */
#ifndef GW_REGISTRY_H
#define GW_REGISTRY_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define GW_SCHEMA_VERSION 1
#define GW_APPLICATION_ID 0x434d5847 /* "CMXG": how file(1) and we know the file */
#define GW_READ_PATIENCE_MS 2000     /* a login waits that long for a writer, then is refused */
#define GW_WRITE_PATIENCE_MS 15000

/* One sentence why, one what to do (may be empty). Filled by every call of this library that fails. */
struct gw_error {
    char why[256];
    char todo[160];
};

/* Fills e (NULL is fine) and returns code, so that a failing path is one line. */
cmx_err gw_error_set(struct gw_error *e, cmx_err code, const char *todo, const char *fmt, ...) CMX_PRINTF(4, 5);

struct gw_registry {
    sqlite3 *db;
    bool writable;
};

/* A new, empty registry at path, mode 0640. CMX_EEXIST: there is a file already. */
CMX_MUST_USE cmx_err gw_registry_create(struct gw_registry *r, const char *path, struct gw_error *e);

/* Opens what create made. CMX_ENOENT missing; CMX_EBUSY locked; CMX_EFORMAT damaged or not a registry; CMX_ENOTSUP of a
 * newer version; CMX_EPERM. Heals what an interrupted writer left when write is true. r is closed after a failure. */
CMX_MUST_USE cmx_err gw_registry_open(struct gw_registry *r, const char *path, bool write, struct gw_error *e);

/* Safe on a zeroed or closed r; an open transaction is rolled back. */
void gw_registry_close(struct gw_registry *r);

/* One writer at a time; commit is durable when it returns (a power cut leaves the old or the new content whole). */
CMX_MUST_USE cmx_err gw_registry_begin(struct gw_registry *r, struct gw_error *e);
CMX_MUST_USE cmx_err gw_registry_commit(struct gw_registry *r, struct gw_error *e);
void gw_registry_rollback(struct gw_registry *r);

/* Every page and every index, slowly: for the doctor. */
CMX_MUST_USE cmx_err gw_registry_check(struct gw_registry *r, struct gw_error *e);

/* A whole copy in a new file, while others work. */
CMX_MUST_USE cmx_err gw_registry_backup(struct gw_registry *r, const char *path, struct gw_error *e);

/* ---- settings of the gateway itself (mode, fleet, listen, ...) ---- */

/* CMX_ENOENT: not set; out is then "". */
CMX_MUST_USE cmx_err gw_meta_get(struct gw_registry *r, const char *key, char *out, size_t cap);
CMX_MUST_USE cmx_err gw_meta_set(struct gw_registry *r, const char *key, const char *value, struct gw_error *e);

/* ---- SQL, for the other files of this library ---- */

/* types: one letter an argument, 't' const char * (NULL binds NULL), 'i' int64_t. The statement is the caller's to
 * finalize. */
CMX_MUST_USE cmx_err gw_sql_prepare(struct gw_registry *r, sqlite3_stmt **out, struct gw_error *e, const char *sql,
                                    const char *types, ...);
/* Runs a statement that gives no rows. CMX_EEXIST: a uniqueness constraint. */
CMX_MUST_USE cmx_err gw_sql_run(struct gw_registry *r, struct gw_error *e, const char *sql, const char *types, ...);
/* Steps: CMX_OK a row, CMX_ENOENT no more, else the error. */
CMX_MUST_USE cmx_err gw_sql_step(struct gw_registry *r, sqlite3_stmt *stmt, struct gw_error *e);
/* Column as text, never NULL; borrowed until the next step. */
const char *gw_sql_text(sqlite3_stmt *stmt, int column);

/* A line in the audit trail: what ("enroll"), who (a name), detail. Part of the caller's transaction. */
CMX_MUST_USE cmx_err gw_event(struct gw_registry *r, const char *what, const char *who, const char *detail,
                              struct gw_error *e);
/* The last n changes (0: all), the oldest first; name: those that speak of it, NULL: of any. The texts live as long as
 * the call. */
typedef cmx_err (*gw_event_fn)(void *arg, int64_t at, const char *what, const char *who, const char *detail);
CMX_MUST_USE cmx_err gw_event_each(struct gw_registry *r, const char *name, uint64_t n, gw_event_fn fn, void *arg,
                                   struct gw_error *e);

#endif
