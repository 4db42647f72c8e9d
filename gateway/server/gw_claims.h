/* gw_claims.h - announces which identities are connected to this gateway. For each of them, table GW_CLAIMS_TABLE has a
 * route to ADDRESS/128 with the claim's metric. BIRD announces these routes to the other gateways.
 *
 * A separate process sets the routes, because the server has no capabilities. It accepts only addresses of the fleet
 * from its parent, and removes all routes when the parent has ended for any reason. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmxsafe/core/why.h"
#include "gateway/registry/address.h"

struct gw_claims {
    int fd; /* socket to the process that sets the routes; -1: no such process */
};

/* Removes what an earlier server left, and starts the process. Called in the fleet's namespace with CAP_NET_ADMIN, and
 * before a thread or a child is started. uid, gid: the account; the new process takes these ids if the caller is
 * root. */
CMX_MUST_USE cmx_err gw_claims_open(struct gw_claims *c, const struct gw_fleet *f, uid_t uid, gid_t gid,
                                    struct cmx_why *e);
/* Adds the route with metric `add`, then removes the route with metric `remove`. 0: adds or removes none. Returns false
 * if the process that sets the routes has ended. */
bool gw_claims_change(struct gw_claims *c, const uint8_t address[16], unsigned add, unsigned remove);
void gw_claims_close(struct gw_claims *c);

/* ---- routes that other gateways announced; need no capability ---- */

struct gw_remote {
    unsigned node;   /* number of the gateway that announced the address */
    unsigned metric; /* metric of the claim */
};

/* Returns the number of the gateway to which packets to this address are routed; 0: they stay here. */
unsigned gw_remote_node(const uint8_t address[16]);

/* Returns a descriptor that becomes readable when other gateways announce claims; it is readable at first if there are
 * claims already. -1: error. */
int gw_remote_watch(void);
/* Calls fn for each claim that can be read now. */
typedef void (*gw_remote_fn)(void *arg, const uint8_t address[16], const struct gw_remote *claim);
void gw_remote_read(int fd, gw_remote_fn fn, void *arg);
