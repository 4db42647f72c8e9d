/* gw_sweep.h - ends connections that the packet filter no longer allows. The filter resets such a connection at its
 * next packet. An idle connection sends none, so its sockets are destroyed, which resets both ends. */
#pragma once

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/party.h"

/* Ends each connection in the fleet's network namespace that needs a grant and is not in `allowed`. Call this as root.
 */
CMX_MUST_USE cmx_err gw_sweep(struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e);

/* Ends all connections between addresses of the fleet, as gw_sweep does if none is allowed. Does not read the
 * registry. */
CMX_MUST_USE cmx_err gw_sweep_fleet(const struct gw *g, struct cmx_why *e);
