/* gw_bird.h - the configuration of BIRD 2, which distributes among the fleet's gateways where each identity is
 * connected. Reads the registry; writes only to f.
 *
 * The running gateway adds a route to table GW_CLAIMS_TABLE for each identity that it holds. BIRD announces it to the
 * other gateways (iBGP, RFC 4271, one session per link, with BFD, RFC 5880), with the claim's metric as LOCAL_PREF, and
 * installs what they announce into the fleet's table. The newest claim wins. An announcement is rejected if the
 * registry says that another gateway holds the identity: the claims form a table of route origins (RFC 6811), with the
 * nodes' numbers as origins. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_CLAIMS_TABLE 77
/* The table of what other gateways announce, with the claims' metrics. The running gateway reads it. */
#define GW_ANNOUNCED_TABLE 78
#define GW_CLAIMS_PROTOCOL 200 /* rtm_protocol of the routes in GW_CLAIMS_TABLE */
#define GW_BIRD_CONTROL "run/bird"

/* Writes bird.conf. A gateway that is alone has a configuration without neighbours. */
CMX_MUST_USE cmx_err gw_bird_config(FILE *f, struct gw *g, struct cmx_why *e);
/* Writes claims.conf, which bird.conf includes: the registry's claims, or nothing if the registry may be outdated. */
CMX_MUST_USE cmx_err gw_bird_claims(FILE *f, struct gw *g, struct cmx_why *e);
