/* gw_nft.h - writes the packet filter's rules from the grants in the registry. Reads the registry and the machine's
 * users, groups and cgroups; writes only to f.
 *
 * System mode: one set in the fleet's network namespace lists the permitted connections by the identities of both
 * ends. A packet of such a connection gets the mark GW_NFT_MARK, and only marked packets have a route to a party. So if
 * a rule, chain or table is missing, packets are blocked. The host's rules give local users and units their identities
 * by source NAT.
 * --user mode has no identities: there the rules check which user or group owns the socket of a new connection. */
#pragma once

#include "gateway/folder/gw_folder.h"
#include "gateway/registry/party.h"

#define GW_NFT_TABLE "cmxsafe"           /* table in the fleet's network namespace */
#define GW_NFT_HOST_TABLE "cmxsafe_host" /* table on the host */

/* The packet marks and the port that the rules, the routes and the server of the fleet's network namespace share. */
#define GW_NFT_MARK "0x434d58"
#define GW_NFT_LOCALS_MARK "0x434d59" /* used instead of GW_NFT_MARK for packets to a local user or unit */
/* GW_NFT_FROM_NODE_MARK | N marks packets from local users and units of node N. An accepted connection inherits the
 * mark (tcp_fwmark_accept), so its answers have the mark too. The rules add GW_NFT_TO_NODE_BIT to the mark of each
 * answer that they permit. Only a mark with this bit selects a route, and only the rules set the bit, so no other
 * answer can pass. */
#define GW_NFT_FROM_NODE_MARK 0x434d6000u
#define GW_NFT_TO_NODE_BIT 0x100u
#define GW_NFT_NODE_MASK 0xffffff00u
#define GW_NFT_NODE_PORT 1129 /* TCP port on the links for requests between running gateways */

/* Writes the rules of the fleet's network namespace. */
CMX_MUST_USE cmx_err gw_nft_fleet(FILE *f, struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e);
/* System mode: writes the rules for the host's end of the link into the namespace. */
CMX_MUST_USE cmx_err gw_nft_host(FILE *f, struct gw *g, const struct gw_allowed_list *allowed, struct cmx_why *e);
