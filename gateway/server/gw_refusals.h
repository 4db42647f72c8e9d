/* gw_refusals.h - reports to the running gateway which connections the fleet's packet filter refused. The gateway logs
 * them. */
#pragma once

#include <nftables/libnftables.h>
#include <stdint.h>

#include "gateway/folder/gw_folder.h"

/* Reports the refusals in the packet filter's set `denied`, and removes them from the set so that none is counted
 * twice. nft: a context of the fleet's namespace with buffered output; its flags are NFT_CTX_OUTPUT_STATELESS
 * afterwards. Returns in how many transactions it changed the rules. */
uint32_t gw_refusals_report(const struct gw *g, struct nft_ctx *nft);
