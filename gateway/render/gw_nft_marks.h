/* gw_nft_marks.h - what the rules and the routes of the fleet's network namespace agree on. */
#ifndef GW_NFT_MARKS_H
#define GW_NFT_MARKS_H

#define GW_NFT_MARK "0x434d58"
#define GW_NFT_LOCALS_MARK "0x434d59" /* instead of it, when the packet goes to a local user or unit */
/* Each of these with a node's number: a packet, and the socket that accepts it, comes from a local user or unit of that
 * node; a packet goes there. No packet with the first mark has a route, so that answers depend on the rules, too. */
#define GW_NFT_FROM_NODE_MARK 0x434d6000u
#define GW_NFT_TO_NODE_BIT 0x100u
#define GW_NFT_NODE_MASK 0xffffff00u
#define GW_NFT_NODE_PORT "1129" /* TCP, on the links: questions of one running gateway to another */

#endif
