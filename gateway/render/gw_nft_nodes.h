/* gw_nft_nodes.h - the part of the fleet's rules about the links to other gateways. A packet's source has to be an
 * identity that this very gateway holds, by the routes that it announced and that were accepted, or one of local users
 * and units, which are the same at each gateway; then it is judged like any other. Writes only to f. */
#ifndef GW_NFT_NODES_H
#define GW_NFT_NODES_H

#include <stdio.h>

#include "gateway/registry/node.h"

/* Here and below, nodes->own is not NULL. */
void gw_nft_nodes_chains(FILE *f, const struct gw_nodes *nodes);
/* Part of the chain input. A socket keeps the mark of the first packet that it accepts (tcp_fwmark_accept): where its
 * answers go, or none. */
void gw_nft_nodes_marks(FILE *f, const struct gw_nodes *nodes);

#endif
