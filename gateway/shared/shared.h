/* shared.h - a registry in PostgreSQL that several gateways share. Each gateway keeps a copy of it: the SQLite file in
 * its folder, which all reads use. A change is made in the copy as in an unshared registry, but PostgreSQL commits it
 * before the copy does. While PostgreSQL can't be reached, a change fails, but observations are stored in the copy and
 * sent to PostgreSQL later.
 *
 * All rows of all tables are shared, except the settings of the gateway itself (table meta). PostgreSQL keeps, for each
 * row, the revision of its last change. One row lock serialises changes, so that a reader that has revision N has all
 * changes up to N. Each query fails if PostgreSQL does not answer within 15 s. Connecting takes at most libpq's
 * connect_timeout for each address. One thread at a time. */
#pragma once

#include "gateway/shared/copy_tables.h"

/* This setting of a gateway names the newest server of PostgreSQL that its copy is from: "SYSTEM TIMELINE" (pg_link.h).
 */
#define GW_META_SERVER "server"

struct gw_shared;

/* Connects to the PostgreSQL registry at url ("postgresql://..."), of which r is a copy. Refuses a server if r has used
 * the server that replaced it (GW_META_SERVER). TLS and passwords come from libpq's own settings (sslmode, passfile,
 * service). CMX_EINVAL: not such a URL, or one with a password in it; CMX_ECLOSED: PostgreSQL can't be reached or used;
 * CMX_ENOTSUP: this program was built without libpq. */
CMX_MUST_USE cmx_err gw_shared_open(struct gw_shared **out, struct gw_registry *r, const char *url, struct cmx_why *e);
void gw_shared_close(struct gw_shared *s);

/* From now on, each change to r, which is open for writing, is also made in the registry at url. The first change
 * connects. gw_registry_close(r) ends the sharing. */
CMX_MUST_USE cmx_err gw_shared_attach(struct gw_registry *r, const char *url, struct cmx_why *e);
/* Call this after gw_shared_attach if the operator has decided that the URL is right: r then also connects to a server
 * that another one has replaced, which it otherwise refuses (GW_META_SERVER). */
void gw_shared_trust_url(struct gw_registry *r);

/* Begins a transaction that turns r into the copy of a shared registry. If PostgreSQL holds no registry, the
 * transaction creates the tables and copies all rows there. If PostgreSQL holds a fleet's registry: with adopt, its
 * rows replace those of r; without adopt, the call fails with CMX_EEXIST. gw_registry_commit(r) or
 * gw_registry_rollback(r) ends the transaction. */
CMX_MUST_USE cmx_err gw_shared_found(struct gw_registry *r, const char *url, bool adopt, struct cmx_why *e);

/* Stores in r an id for the registry that gw_shared_found will create, unless r has such an id. If the process ends
 * between the commit in PostgreSQL and the commit in r, the next gw_shared_found recognises the new registry by this
 * id. It then creates this registry again from r, unless another gateway has changed the registry meanwhile. */
CMX_MUST_USE cmx_err gw_shared_found_prepare(struct gw_registry *r, struct cmx_why *e);

/* ---- following ---- */

/* What gw_shared_follow checks. CHANGES: it copies rows that changed since the last call. RIGHTS: it also compares the
 * digests of the tables that decide who may do what. ALL: it also compares the digests of the other tables. A table
 * whose digest differs is replaced. */
enum gw_shared_check { GW_SHARED_CHANGES, GW_SHARED_RIGHTS, GW_SHARED_ALL };

/* Queries in one round trip whether there is anything to transfer: changes in PostgreSQL, or observations that are
 * stored only in the copy. Errors as for gw_shared_follow. */
CMX_MUST_USE cmx_err gw_shared_behind(struct gw_shared *s, struct gw_registry *r, bool *behind, struct cmx_why *e);

/* Checks that PostgreSQL has all tables and columns that the copy r has. CMX_EIO: at least one is missing. */
CMX_MUST_USE cmx_err gw_shared_check_tables(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e);

/* Brings the copy r, which is open for writing, up to date, and sends observations that were stored while PostgreSQL
 * could not be reached. CMX_ECLOSED: the connection is lost, close s; CMX_ENOTSUP: the registry needs a newer program;
 * CMX_EFORMAT: it is another fleet's registry. */
CMX_MUST_USE cmx_err gw_shared_follow(struct gw_shared *s, struct gw_registry *r, enum gw_shared_check check,
                                      struct gw_copy_changes *out, struct cmx_why *e);

/* Deletes the tombstones of rows that were removed more than a day ago. Does nothing if a gateway of the fleet has done
 * so within the last day. Call gw_shared_follow with s first. Errors as for gw_shared_follow. */
CMX_MUST_USE cmx_err gw_shared_prune(struct gw_shared *s, struct gw_registry *r, struct cmx_why *e);

/* Waits up to timeout_ms for a change, but ignores observations that this gateway recorded itself. CMX_ETIMEOUT: there
 * was no change; CMX_ECLOSED: the connection is lost. */
CMX_MUST_USE cmx_err gw_shared_wait(struct gw_shared *s, int timeout_ms, struct cmx_why *e);
