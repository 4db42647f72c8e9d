/* gw_bird.h - writes the configuration for BIRD 2. With BIRD, each gateway of the fleet announces to the others which
 * identities are connected to it. Reads the registry; writes only to f.
 *
 * The running gateway adds a route to table GW_CLAIMS_TABLE for each identity that it holds. BIRD announces this route
 * to the other gateways, with the claim's metric as LOCAL_PREF, and installs their routes into the fleet's table. If
 * several gateways announce an identity, the newest claim wins. The gateways use iBGP (RFC 4271) with one session per
 * link, and BFD (RFC 5880). If the registry says that one gateway holds an identity, BIRD rejects announcements
 * of the identity by other gateways. For this check, bird.conf uses the registry's claims as a table of route origins
 * (RFC 6811), with the nodes' numbers as origins. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_CLAIMS_TABLE 77
/* The table with the routes that other gateways announce. Each route has its claim's metric. The running gateway reads
 * this table. */
#define GW_ANNOUNCED_TABLE 78
#define GW_CLAIMS_PROTOCOL 200 /* rtm_protocol of the routes in GW_CLAIMS_TABLE */
/* BIRD's control socket has a folder of its own, in which only root may write. BIRD, as root, changes the owner and
 * mode of the file at the socket's path, so no other account may be able to replace this file. */
#define GW_BIRD_FOLDER "bird"
#define GW_BIRD_CONTROL GW_BIRD_FOLDER "/ctl"

/* Writes bird.conf. If the gateway is alone, the file contains no neighbours. */
CMX_MUST_USE cmx_err gw_bird_config(FILE *f, struct gw *g, struct cmx_why *e);
/* Writes claims.conf, which bird.conf includes: the registry's claims, or none if this copy of the registry may be
 * outdated. */
CMX_MUST_USE cmx_err gw_bird_claims(FILE *f, struct gw *g, struct cmx_why *e);
