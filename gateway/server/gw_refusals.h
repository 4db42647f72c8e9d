/* gw_refusals.h - reports to the running gateway which connections the fleet's packet filter refused. The gateway logs
 * them. The packet filter stores them in its set `denied`, which becomes empty when the rules are loaded. */
#pragma once

#include <nftables/libnftables.h>
#include <stdint.h>

#include "gateway/folder/gw_folder.h"
#include "gateway/render/gw_nft.h"

#define GW_REFUSALS_LIST "list set inet " GW_NFT_TABLE " denied" /* the nft command that lists the set */

/* Reports the refusals in a listing of the set. The listing must include the counters. */
void gw_refusals_tell(const struct gw *g, const char *listing);
/* Reports the refusals in the set, and removes them from the set so that none is counted twice. nft: a context of the
 * fleet's namespace with buffered output; its flags are NFT_CTX_OUTPUT_STATELESS afterwards. Returns in how many
 * transactions it changed the rules. */
uint32_t gw_refusals_report(const struct gw *g, struct nft_ctx *nft);
