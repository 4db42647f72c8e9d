/* registry.h - the gateway's database (SQLite): keys, the devices and platforms that they belong to, and grants. Starts
 * no program and makes no network call. Use a struct gw_registry from one thread at a time.
 *
 * A registry that can't be trusted (missing, damaged, locked for too long, of a newer version, another program's file)
 * does not open; the caller then denies every login. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/registry/meta.h"
#include "gateway/registry/sql.h"

#define GW_SCHEMA_VERSION 2
#define GW_APPLICATION_ID 0x434d5847 /* "CMXG": SQLite's application id of a registry */
#define GW_READ_PATIENCE_MS 2000     /* a login waits this long for a writer and is then refused */
#define GW_WRITE_PATIENCE_MS 15000
#define GW_REGISTRY_URL_MAX 1024 /* maximum length of a shared registry's URL */

/* The steps that a shared registry adds to SQLite's BEGIN, COMMIT and ROLLBACK (gateway/shared). */
struct gw_sharing {
    cmx_err (*begin)(struct gw_registry *r, bool observed, struct cmx_why *e);
    cmx_err (*commit)(struct gw_registry *r, struct cmx_why *e);
    void (*rollback)(struct gw_registry *r);
    void (*close)(struct gw_registry *r);
};

/* Creates an empty registry, mode 0640. CMX_EEXIST: path exists. */
CMX_MUST_USE cmx_err gw_registry_create(struct gw_registry *r, const char *path, struct cmx_why *e);

/* Opens a registry. CMX_ENOENT: it is missing. CMX_EBUSY: it is locked, or a write was interrupted and this open can't
 * repair it. CMX_EFORMAT: it is damaged, or not a registry. CMX_ENOTSUP: its version is newer. CMX_EPERM: no
 * permission. With `write`, repairs the file after an interrupted write, and upgrades an older version in one
 * transaction, after a copy to PATH.vN. Without `write`, upgrades a copy in memory and reads that. r is closed after a
 * failure. */
CMX_MUST_USE cmx_err gw_registry_open(struct gw_registry *r, const char *path, bool write, struct cmx_why *e);

/* Like gw_registry_open without `write`, but does not make the views of grants and quarantine, because that takes
 * longer than the look-up of a key. gw_registry_need_views makes them if they are missing. */
CMX_MUST_USE cmx_err gw_registry_open_tables(struct gw_registry *r, const char *path, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_registry_need_views(struct gw_registry *r, struct cmx_why *e);

/* Reads how long the copy of a shared registry still counts (copy_state.h). path: r's file. */
struct gw_copy_state;
void gw_registry_copy_state(struct gw_registry *r, const char *path, struct gw_copy_state *out);

/* Closes r. Safe on a zeroed or closed r; an open transaction is rolled back. */
void gw_registry_close(struct gw_registry *r);

/* One writer at a time: begin waits up to GW_WRITE_PATIENCE_MS. Once commit returns, the change survives a power cut; a
 * power cut before that leaves the former content. */
CMX_MUST_USE cmx_err gw_registry_begin(struct gw_registry *r, struct cmx_why *e);
/* Like gw_registry_begin, for a change that only records observations (last seen, evidence, the audit trail): if the
 * shared registry can't be reached, the change is stored here and sent later. */
CMX_MUST_USE cmx_err gw_registry_begin_observed(struct gw_registry *r, struct cmx_why *e);
/* Like gw_registry_begin, for settings of this gateway alone. Needs no connection to the shared registry. */
CMX_MUST_USE cmx_err gw_registry_begin_own(struct gw_registry *r, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_registry_commit(struct gw_registry *r, struct cmx_why *e);
void gw_registry_rollback(struct gw_registry *r);

/* Checks every page and index. Slow. */
CMX_MUST_USE cmx_err gw_registry_check(struct gw_registry *r, struct cmx_why *e);

/* Copies the registry into a new file of mode 0600, consistent while others write. CMX_EEXIST: path exists. */
CMX_MUST_USE cmx_err gw_registry_backup(struct gw_registry *r, const char *path, struct cmx_why *e);

/* ---- the audit trail ---- */

/* Entries of the audit trail that were made while the shared registry could not be reached have ids from this number
 * on, until they are sent. */
#define GW_EVENT_UNSENT (INT64_C(1) << 62)

/* Adds a line to the audit trail: what ("enroll"), who (a name), detail. Part of the caller's transaction. */
CMX_MUST_USE cmx_err gw_event(struct gw_registry *r, const char *what, const char *who, const char *detail,
                              struct cmx_why *e);
/* Gives unsent entries ids that follow all others. Part of the caller's transaction. */
CMX_MUST_USE cmx_err gw_event_number(struct gw_registry *r, struct cmx_why *e);
/* Calls fn for the last n changes (0: all), the oldest first. name: only changes that name this device, consumer or
 * other object; NULL: all. The texts are valid during the call. */
typedef cmx_err (*gw_event_fn)(void *arg, int64_t at, const char *what, const char *who, const char *detail);
CMX_MUST_USE cmx_err gw_event_each(struct gw_registry *r, const char *name, uint64_t n, gw_event_fn fn, void *arg,
                                   struct cmx_why *e);
