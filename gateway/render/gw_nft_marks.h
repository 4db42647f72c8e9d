/* gw_nft_marks.h - the packet marks, and one port, that are shared by the rules, the routes and the server of the
 * fleet's network namespace. */
#pragma once

#define GW_NFT_MARK "0x434d58"
#define GW_NFT_LOCALS_MARK "0x434d59" /* replaces GW_NFT_MARK if the packet goes to a local user or unit */
/* GW_NFT_FROM_NODE_MARK | N marks packets from local users and units of node N, and the sockets that accept them. The
 * same mark with GW_NFT_TO_NODE_BIT marks the answers. Only the mark with the bit has a route, and only the rules set
 * the bit, so the rules also decide about answers. */
#define GW_NFT_FROM_NODE_MARK 0x434d6000u
#define GW_NFT_TO_NODE_BIT 0x100u
#define GW_NFT_NODE_MASK 0xffffff00u
#define GW_NFT_NODE_PORT "1129" /* TCP, on the links: requests between running gateways */
