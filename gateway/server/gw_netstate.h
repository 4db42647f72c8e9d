/* gw_netstate.h - a digest of the fleet's network in the kernel: the veth pair between the host and the fleet's network
 * namespace, the addresses of the gateway's links, the fleet's routes, and the routing rules. Reads them with
 * rtnetlink(7), without starting a program. Equal states have equal digests: neither the order in which the kernel
 * lists objects nor the interface indexes of the links change the digest. Also reads the generation number of the
 * packet filter's rules. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cmxsafe/port/crypto.h"
#include "gateway/registry/address.h"

struct gw_netstate {
    uint8_t fixed[CMX_SHA256_LEN]; /* digest of the parts that do not change while the gateway runs */
    uint8_t nodes[CMX_SHA256_LEN]; /* digest of the links to other gateways, which may be added and removed */
};

typedef enum { GW_NETSTATE_HOST, GW_NETSTATE_FLEET } gw_netstate_side;

/* Adds one network namespace to s. fd: a NETLINK_ROUTE socket of that namespace, with a timeout for receiving.
 * CMX_EBUSY: the network changes too fast to be read; CMX_EIO: reading failed. */
CMX_MUST_USE cmx_err gw_netstate_add(struct gw_netstate *s, gw_netstate_side side, int fd, const struct gw_fleet *f);
/* Adds data to sum, one of the two digests of a struct gw_netstate. */
CMX_MUST_USE cmx_err gw_netstate_add_bytes(uint8_t sum[CMX_SHA256_LEN], const void *data, size_t len);
bool gw_netstate_equal(const struct gw_netstate *a, const struct gw_netstate *b);

typedef enum {
    GW_NETSTATE_CHANGED_BY_US, /* only commands of cmxsafe changed the network */
    GW_NETSTATE_REPAIRED,      /* another program changed it, and the repair undid this change */
    GW_NETSTATE_ADDED          /* another program added something that the repair did not remove */
} gw_netstate_change;

/* Compares three states of the network. `first`: after it was set up; `found`: before the repair; `after`: after
 * the repair. */
gw_netstate_change gw_netstate_compare(const struct gw_netstate *first, const struct gw_netstate *found,
                                       const struct gw_netstate *after);

/* events: messages from a NETLINK_ROUTE socket. True if they may report a change that affects the digests. The digests
 * do not cover routes to single addresses, which are added and removed with sessions. */
bool gw_netstate_concerned(const void *events, size_t len);

/* Reads the generation number of the packet filter's rules, which each change increases. fd: a NETLINK_NETFILTER socket
 * with a timeout for receiving. False: the kernel did not answer. */
bool gw_netstate_generation(int fd, uint32_t *out);
