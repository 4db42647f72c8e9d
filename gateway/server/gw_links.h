/* gw_links.h - the links between the gateways of a fleet: one interface for each pair; the interface to node N is
 * cmxlinkN. The UDP socket of WireGuard or VXLAN is in the host's network, the interface is in the fleet's namespace.
 * Runs ip, wg and wireguard-go as root. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_LINK_KEY "link.key" /* WireGuard's private key, in the gateway's folder */

/* Makes the links to all other nodes or brings them up to date, and removes links to nodes that have left. The
 * namespace must exist. */
CMX_MUST_USE cmx_err gw_links_up(struct gw *g, struct cmx_why *e);

/* Reads the public key of DIR/link.key; creates the file if it is missing. */
CMX_MUST_USE cmx_err gw_links_key(const struct gw *g, char out[48], struct cmx_why *e);
/* Checks that DIR/link.key is the key that the fleet has for this gateway. Passes if this gateway has no WireGuard
 * links. */
CMX_MUST_USE cmx_err gw_links_check_key(struct gw *g, struct cmx_why *e);
