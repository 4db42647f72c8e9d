/* registry.h - the gateway's SQLite database: devices, platforms, their keys, and grants. Starts no program and makes
 * no network call. Use a struct gw_registry from one thread at a time.
 *
 * Opening fails if the registry can't be trusted: it is missing or damaged, it is locked for too long, it has a newer
 * version, or it is another program's file. The caller then denies every login. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/registry/meta.h"
#include "gateway/registry/sql.h"

#define GW_SCHEMA_VERSION 2
#define GW_APPLICATION_ID 0x434d5847 /* "CMXG": SQLite's application id of a registry */
#define GW_READ_PATIENCE_MS 2000     /* a login is refused if a writer holds the lock for longer */
#define GW_WRITE_PATIENCE_MS 15000
#define GW_REGISTRY_URL_MAX 1024 /* maximum length of a shared registry's URL */

/* What a shared registry (gateway/shared) does in addition to SQLite's BEGIN, COMMIT and ROLLBACK. */
struct gw_sharing {
    cmx_err (*begin)(struct gw_registry *r, bool observed, struct cmx_why *e);
    cmx_err (*commit)(struct gw_registry *r, struct cmx_why *e);
    void (*rollback)(struct gw_registry *r);
    void (*close)(struct gw_registry *r);
};

/* Creates an empty registry, mode 0640, and opens it for writing. CMX_EEXIST: path exists. */
CMX_MUST_USE cmx_err gw_registry_create(struct gw_registry *r, const char *path, struct cmx_why *e);

/* Opens a registry. CMX_ENOENT: it is missing. CMX_EBUSY: it is locked, or a write was interrupted and the file can
 * only be repaired with `write`. CMX_EFORMAT: it is damaged, or not a registry. CMX_ENOTSUP: this program does not
 * support its version, which is newer. CMX_EPERM: no permission to open it. With `write`, repairs the file after an
 * interrupted write; if its version is older, copies it to PATH.vN and upgrades it in one transaction. Without `write`,
 * an older version is copied into memory, and the copy is upgraded and read. After a failure, r is closed. */
CMX_MUST_USE cmx_err gw_registry_open(struct gw_registry *r, const char *path, bool write, struct cmx_why *e);

/* Like gw_registry_open without `write`, but does not create the views of grants and quarantine, because creating them
 * takes longer than looking up a key. gw_registry_need_views creates them if they are missing. */
CMX_MUST_USE cmx_err gw_registry_open_tables(struct gw_registry *r, const char *path, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_registry_need_views(struct gw_registry *r, struct cmx_why *e);

/* In SQL: the seconds until a row's grant or evidence ends; 0: it never ends; -1: it has ended. Needs the views. */
#define GW_SQL_LEFT "gw_left(given, ends, boot, boot_ends, (SELECT value FROM meta WHERE key = 'clock'))"

/* Finds out how long the copy of a shared registry may still be used (copy_state.h). path: r's file. */
struct gw_copy_state;
void gw_registry_copy_state(struct gw_registry *r, const char *path, struct gw_copy_state *out);
/* Returns GW_META_STORED of the copy; 0: an earlier version stored the copy. */
int64_t gw_registry_stored(struct gw_registry *r);

/* Closes r. Safe on a zeroed or closed r; an open transaction is rolled back. */
void gw_registry_close(struct gw_registry *r);

/* Begins a transaction. Only one writer is active at a time; the others wait for up to GW_WRITE_PATIENCE_MS. A change
 * survives a power cut once gw_registry_commit has returned; a power cut before that leaves the previous
 * content. */
CMX_MUST_USE cmx_err gw_registry_begin(struct gw_registry *r, struct cmx_why *e);
/* Like gw_registry_begin, for a change that only records observations (last seen, evidence, the audit trail). If the
 * shared registry can't be reached, or its lock is not free in time, the change is stored in the local copy and sent to
 * PostgreSQL later. */
CMX_MUST_USE cmx_err gw_registry_begin_observed(struct gw_registry *r, struct cmx_why *e);
/* Like gw_registry_begin, for settings that only this gateway has. Needs no connection to the shared registry. */
CMX_MUST_USE cmx_err gw_registry_begin_own(struct gw_registry *r, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_registry_commit(struct gw_registry *r, struct cmx_why *e);
void gw_registry_rollback(struct gw_registry *r);
/* Ends a transaction: commits if err is CMX_OK, otherwise rolls back and returns err. Also valid if
 * gw_registry_begin failed; err is then its error. */
CMX_MUST_USE cmx_err gw_registry_end(struct gw_registry *r, cmx_err err, struct cmx_why *e);

/* Checks every page and index. Slow. */
CMX_MUST_USE cmx_err gw_registry_check(struct gw_registry *r, struct cmx_why *e);

/* Copies the registry into a new file of mode 0600. The copy is consistent even if others write meanwhile. CMX_EEXIST:
 * path exists. */
CMX_MUST_USE cmx_err gw_registry_backup(struct gw_registry *r, const char *path, struct cmx_why *e);
