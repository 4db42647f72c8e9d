/* gw_links.h - sets up the links between the gateways of a fleet. Each gateway has one interface for each other
 * gateway: cmxlinkN is its interface to node N. The interface is in the fleet's namespace, and its UDP socket
 * (WireGuard or VXLAN) is in the host's network. Runs ip, wg and wireguard-go as root. */
#pragma once

#include "cmxsafe/port/crypto.h"
#include "gateway/folder/gw_folder.h"
#include "gateway/registry/node.h"

#define GW_LINK_KEY "link.key" /* WireGuard's private key, in the gateway's folder */

/* Creates or updates the links to all other nodes, and removes links to nodes that have left the fleet. The namespace
 * must exist. */
CMX_MUST_USE cmx_err gw_links_up(struct gw *g, struct cmx_why *e);

/* Adds the keys, ports and peers of the WireGuard links to sum (gw_netstate_add_bytes). If wg can't read them, adds a
 * fixed value instead. Adds nothing without DIR/link.key. */
CMX_MUST_USE cmx_err gw_links_add_state(const struct gw *g, uint8_t sum[CMX_SHA256_LEN]);

/* Reads the public key that belongs to DIR/link.key. If the file is missing, creates it with a new key. */
CMX_MUST_USE cmx_err gw_links_key(const struct gw *g, char out[GW_LINK_KEY_MAX], struct cmx_why *e);
/* Checks that DIR/link.key is the key that the registry has for this gateway. Also returns CMX_OK if this gateway has
 * no WireGuard links. */
CMX_MUST_USE cmx_err gw_links_check_key(struct gw *g, struct cmx_why *e);
