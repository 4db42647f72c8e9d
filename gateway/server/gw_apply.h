/* gw_apply.h - applies a changed registry: generates files from it and loads the rules into the kernel. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* True if the gateway's namespaces exist: only then can rules be loaded into them. */
bool gw_apply_is_up(const struct gw *g);

/* Writes krl, hosts, fleet.nft, host.nft and BIRD's configuration, loads the rules if the gateway is up, ends
 * connections that are no longer allowed, sets up the links to other gateways, and updates /etc/hosts. If a step fails,
 * continues with the next one, and returns the first error at the end. */
CMX_MUST_USE cmx_err gw_apply(struct gw *g, struct cmx_why *e);

/* Like gw_apply, but logs an error of the links to other gateways or of /etc/hosts instead of returning it, because
 * access does not depend on them. */
CMX_MUST_USE cmx_err gw_apply_access(struct gw *g, struct cmx_why *e);

/* Call this with the gateway's lock held, after a change of the registry was committed. Applies the registry like
 * gw_apply, and then makes the running gateway check its sessions, even if applying failed. If a step fails on which
 * access does not depend (see gw_apply_access), stores the error in *rest and does not return it; if rest is NULL,
 * returns it. After an error, gw_expiry_tick tries again while the gateway runs. */
CMX_MUST_USE cmx_err gw_apply_change(struct gw *g, struct cmx_why *rest, struct cmx_why *e);

/* Checks whether the registry could be applied: opens it and reads everything on which the rules depend, but applies
 * nothing. An error means that no change of the registry can come into force until the cause of the error is removed.
 * g's registry must be closed before the call; it is closed when the call returns. */
CMX_MUST_USE cmx_err gw_apply_check(struct gw *g, struct cmx_why *e);

/* Applies only the claims, which limit what the other gateways may announce. */
CMX_MUST_USE cmx_err gw_apply_claims(struct gw *g, struct cmx_why *e);

/* System mode: true if /etc/hosts has the block that gw_apply writes. If the operator turned the block off: true if the
 * file has no such block. */
bool gw_apply_has_etc_hosts(struct gw *g);
