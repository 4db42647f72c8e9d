/* gw_nft_marks.h - one port and the packet marks that the rules, the routes and the server of the fleet's network
 * namespace share. */
#pragma once

#define GW_NFT_MARK "0x434d58"
#define GW_NFT_LOCALS_MARK "0x434d59" /* used instead of GW_NFT_MARK for packets to a local user or unit */
/* GW_NFT_FROM_NODE_MARK | N marks packets from local users and units of node N. An accepted connection inherits the
 * mark (tcp_fwmark_accept), so its answers have the mark too. The rules add GW_NFT_TO_NODE_BIT to the answers that they
 * permit. Only a mark with this bit selects a route, and only the rules set the bit, so no other answer can pass. */
#define GW_NFT_FROM_NODE_MARK 0x434d6000u
#define GW_NFT_TO_NODE_BIT 0x100u
#define GW_NFT_NODE_MASK 0xffffff00u
#define GW_NFT_NODE_PORT "1129" /* TCP port on the links for requests between running gateways */
