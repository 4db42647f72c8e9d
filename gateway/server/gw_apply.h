/* gw_apply.h - makes a changed registry take effect: writes what is generated from it and loads it into the kernel. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* True if the gateway's namespaces exist, so that rules can be loaded into them. */
bool gw_apply_is_up(const struct gw *g);

/* Writes krl, hosts, fleet.nft, host.nft and BIRD's configuration, loads the rules where the gateway is up, ends
 * connections that are no longer allowed, sets up the links to other gateways, and updates /etc/hosts. Tries every
 * step, and returns the first error. */
CMX_MUST_USE cmx_err gw_apply(struct gw *g, struct cmx_why *e);

/* Takes the same steps, but returns an error only if a step failed on which access depends. The links to other gateways
 * and /etc/hosts are no such steps. */
CMX_MUST_USE cmx_err gw_apply_access(struct gw *g, struct cmx_why *e);

/* Applies only the claims: what the other gateways may announce. */
CMX_MUST_USE cmx_err gw_apply_claims(struct gw *g, struct cmx_why *e);

/* System mode: true if /etc/hosts has the block that gw_apply writes. If the operator turned the block off: true if
 * there is none. */
bool gw_apply_has_etc_hosts(struct gw *g);
