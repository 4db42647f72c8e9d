/* shared_state.h - what the files of this folder share: the state of one connection to the registry in PostgreSQL, and
 * the steps of its transactions. */
#pragma once

#include <libpq-fe.h>

#include "gateway/shared/copy_tables.h"
#include "gateway/shared/pg_link.h"
#include "gateway/shared/pg_rows.h"
#include "gateway/shared/shared.h"

/* Programs with this schema version or a later one can use the registry together with this program. A change that only
 * adds tables, and columns with a default, does not raise the number. */
#define GW_SHARED_COMPATIBLE 2
#define GW_SHARED_ID_MAX 40
#define GW_SHARED_ORIGIN_MAX 96

/* The one row of table registry. */
struct gw_shared_head {
    bool found;
    char id[GW_SHARED_ID_MAX];
    int64_t schema, compatible, revision;
    int64_t pruned; /* tombstones up to this revision are deleted, so all rows of an older copy are compared */
};

struct gw_shared {
    char url[GW_REGISTRY_URL_MAX];
    PGconn *c; /* NULL: not connected */
    struct gw_copy_tables tables;
    struct gw_pg_server server;        /* of the connection */
    bool any_server;                   /* gw_shared_trust_url was called */
    struct gw_shared_head head;        /* the row of table registry, as last read */
    sqlite3_session *session;          /* records the changes of a transaction; NULL: none */
    bool dirty;                        /* the transaction has sent rows */
    bool locked;                       /* a transaction is open in PostgreSQL */
    bool observed;                     /* the transaction only adds observations */
    char origin[GW_SHARED_ORIGIN_MAX]; /* name of this gateway's copy, for gw_shared_wait; "": unknown */
};

#define GW_SHARED_HEAD_SQL                                                                                             \
    "SELECT id, schema, compatible, revision, coalesce((SELECT value FROM meta WHERE key = 'pruned'), '0') FROM"       \
    " registry"

extern const struct gw_sharing gw_shared_calls;

/* Opens s->c, the connection to s->url, for the copy r. Errors as for gw_pg_open. */
CMX_MUST_USE cmx_err gw_shared_connect(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e);

/* A gw_pg_result_fn for GW_SHARED_HEAD_SQL; arg: a struct gw_shared_head. CMX_ENOENT: there is no registry. */
CMX_MUST_USE cmx_err gw_shared_read_head(void *arg, const PGresult *rows, struct cmx_why *e);
/* Checks that h is the head of the registry that r is a copy of, and that this program can use that registry. */
CMX_MUST_USE cmx_err gw_shared_check_head(const struct gw_shared_head *h, struct gw_registry *r, struct cmx_why *e);

/* Returns the revision that the copy has; 0: none. */
int64_t gw_shared_revision(struct gw_registry *r);
/* Stores that r has this revision of the registry, and is from s->server. */
CMX_MUST_USE cmx_err gw_shared_set_revision(const struct gw_shared *s, struct gw_registry *r, int64_t revision,
                                            struct cmx_why *e);

/* Writes the name of this gateway's copy: " BOOT:DEVICE:INODE" of its file. The name is not stored in the copy, because
 * a gateway that was set up from another gateway's copy would then have the same name. */
void gw_shared_origin(struct gw_registry *r, char out[GW_SHARED_ORIGIN_MAX]);

/* Reads s->tables, unless an earlier call has read them. */
CMX_MUST_USE cmx_err gw_shared_tables(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e);
/* Creates the tables and columns that PostgreSQL does not have yet. */
CMX_MUST_USE cmx_err gw_shared_run_schema(struct gw_shared *s, struct cmx_why *e);
/* If PostgreSQL's tables have an older version, calls gw_shared_run_schema and stores the new version. */
CMX_MUST_USE cmx_err gw_shared_upgrade_schema(struct gw_shared *s, struct cmx_why *e);

/* Sends the shared rows of t to PostgreSQL. observed: t has observations, of which only those since the time `since`
 * are sent and merged (gw_pg_writer_row); if false, `since` is not used. */
CMX_MUST_USE cmx_err gw_shared_send_rows(struct gw_pg_writer *w, struct gw_registry *r, const struct gw_copy_table *t,
                                         bool observed, int64_t since, struct cmx_why *e);

/* The steps that begin a transaction, in this order. gw_shared_lock takes PostgreSQL's lock. gw_shared_begin_on_copy
 * locks the copy and brings it up to date. gw_shared_record, which gw_shared_begin_on_copy calls, starts recording the
 * changes. */
CMX_MUST_USE cmx_err gw_shared_lock(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_shared_begin_on_copy(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e);
CMX_MUST_USE cmx_err gw_shared_record(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e);
