/* gw_claims.h - announces which identities are connected to this gateway. For each such identity, table GW_CLAIMS_TABLE
 * has a route to ADDRESS/128 with the claim's metric. BIRD announces these routes to the other gateways.
 *
 * A separate process sets the routes, because the server has no capabilities. This process accepts only addresses of
 * the fleet. When the server has ended for any reason, the process removes all routes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmxsafe/core/why.h"
#include "gateway/registry/address.h"

struct gw_claims {
    int fd; /* socket to the process that sets the routes; -1: no such process */
};

/* Removes routes of an earlier server, and starts the process that sets the routes. Call this in the fleet's namespace
 * with CAP_NET_ADMIN, before any thread or child is started. uid, gid: the account; if the caller is root, the new
 * process changes to these ids. */
CMX_MUST_USE cmx_err gw_claims_open(struct gw_claims *c, const struct gw_fleet *f, uid_t uid, gid_t gid,
                                    struct cmx_why *e);
/* Adds the route to address with metric `add`, then removes its route with metric `remove`. `add` 0: adds no route;
 * `remove` 0: removes none. Returns false if the process that sets the routes has ended. */
bool gw_claims_change(struct gw_claims *c, const uint8_t address[CMX_IPV6_LEN], unsigned add, unsigned remove);
void gw_claims_close(struct gw_claims *c);

/* ---- routes that other gateways announced; these functions need no capability ---- */

struct gw_remote {
    unsigned node;   /* number of the announcing gateway; 0: a route of this gateway was removed */
    unsigned metric; /* metric of the claim */
};

/* Returns the number of the gateway to which packets for this address are routed; 0: they stay on this gateway, or the
 * route can't be read. */
unsigned gw_remote_node(const uint8_t address[CMX_IPV6_LEN]);

/* Returns a descriptor that is readable when other gateways have announced claims, including claims from before the
 * call, or when routes of this gateway were removed. -1: error. */
int gw_remote_watch(void);
/* Reads the announced claims and the removals of this gateway's own routes, and calls fn for each. */
typedef void (*gw_remote_fn)(void *arg, const uint8_t address[CMX_IPV6_LEN], const struct gw_remote *claim);
void gw_remote_read(int fd, gw_remote_fn fn, void *arg);
