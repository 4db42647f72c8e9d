/* node.h - the gateways (nodes) of one fleet, and which node holds which identity. The addresses and ports of the links
 * are derived from the nodes' numbers. Reads and writes the registry only.
 *
 * The node with the newest claim to an identity holds the identity. Claims have sequence numbers: a node that takes
 * over an identity uses the next number after the highest one that it knows. The links carry the sequence number as a
 * route metric, which has fewer bits, so metrics are compared as serial numbers (RFC 1982). */
#pragma once

#include "gateway/registry/address.h"
#include "gateway/registry/device_fields.h"
#include "gateway/registry/registry.h"

#define GW_NODES_MAX 64
#define GW_NODE_PORT_FIRST 51820 /* UDP port of the link between nodes 1 and 2; each pair of nodes has its own port */
#define GW_LINK_KEY_MAX 48       /* a WireGuard public key, base64 */
#define GW_NODE_VERSION_MAX 32
#define GW_METRIC_MAX 32000
#define GW_NODE_CLAIMS_MAX 100000 /* maximum number of stored identities that one other gateway announces */
#define GW_NODE_STALE_S 15        /* a node that has not reported for this long is shown as away */

struct gw_node {
    char name[GW_NAME_MAX];
    unsigned number;                /* 1 to GW_NODES_MAX */
    char ssh[GW_HOST_MAX];          /* "admin@gw1.example", for 'cmxsafe gateway join' */
    char underlay[GW_ADDRESS_MAX];  /* IPv4 or IPv6 address at which the other nodes reach its links */
    char link_key[GW_LINK_KEY_MAX]; /* WireGuard public key; "": plain links (gw_links.h) */
    char link[GW_ADDRESS_MAX];      /* the node's address on all its links */
    int64_t joined;                 /* Unix time */
    int64_t seen;                   /* Unix time of the node's last report; 0: never */
    int64_t sessions;
    char version[GW_NODE_VERSION_MAX];
};

struct gw_nodes {
    struct gw_node list[GW_NODES_MAX]; /* sorted by number */
    size_t n;                          /* 0: the gateway is alone */
    const struct gw_node *own;         /* NULL: the gateway is alone */
    char prefix[GW_ADDRESS_MAX + 4];   /* the prefix of the links: "fdXX:...::/64" */
};

/* Reads all nodes. If the gateway is alone, out->n is 0 and out->own is NULL. */
CMX_MUST_USE cmx_err gw_nodes_read(struct gw_registry *r, const struct gw_fleet *f, struct gw_nodes *out,
                                   struct cmx_why *e);
const struct gw_node *gw_nodes_find(const struct gw_nodes *nodes, const char *name);

/* Adds node n with the lowest free number or, if a node of this name exists, changes that node. Sets n->number.
 * CMX_EINVAL: the name, address or key is malformed; CMX_ENOSPC: there are GW_NODES_MAX nodes. gw_node_put,
 * gw_node_remove and gw_node_note run inside the caller's transaction. */
CMX_MUST_USE cmx_err gw_node_put(struct gw_registry *r, struct gw_node *n, struct cmx_why *e);
/* Removes a node and its claims. CMX_ENOENT: there is no such node. */
CMX_MUST_USE cmx_err gw_node_remove(struct gw_registry *r, const char *name, struct cmx_why *e);

/* Records that the node is running now, and how many sessions it has. */
CMX_MUST_USE cmx_err gw_node_note(struct gw_registry *r, const char *name, int64_t sessions, const char *version,
                                  struct cmx_why *e);

/* Returns the UDP port that both ends of the link between two nodes use. */
unsigned gw_node_port(unsigned a, unsigned b);

/* ---- claims ---- */

/* Finds the newest known claim to an identity. CMX_ENOENT: the registry has no claim to it. */
CMX_MUST_USE cmx_err gw_claim_get(struct gw_registry *r, const char *address, char node[GW_NAME_MAX], int64_t *sequence,
                                  struct cmx_why *e);
/* True if a gateway other than this one has the newest known claim to the identity; node is its name. */
bool gw_claim_is_elsewhere(struct gw_registry *r, const char *address, char node[GW_NAME_MAX]);
/* Stores a claim, unless the registry has one with the same or a higher sequence. node "": the gateway that held the
 * identity has released it. */
CMX_MUST_USE cmx_err gw_claim_put(struct gw_registry *r, const char *address, const char *node, int64_t sequence,
                                  int64_t since, struct cmx_why *e);
/* Calls fn for each claim, in the order of the addresses; leaves out identities that were released. If fn returns an
 * error, stops and returns it. */
typedef cmx_err (*gw_claim_fn)(void *arg, const char *address, const char *node, int64_t since);
CMX_MUST_USE cmx_err gw_claim_each(struct gw_registry *r, gw_claim_fn fn, void *arg, struct cmx_why *e);

/* Returns the route metric of a sequence: 1 to GW_METRIC_MAX. */
unsigned gw_claim_metric(int64_t sequence);
/* True if metric a is newer than b. */
bool gw_claim_metric_newer(unsigned a, unsigned b);
/* Returns the lowest sequence above `after` whose metric is newer than `metric`. metric 0: no metric is known. */
int64_t gw_claim_next(int64_t after, unsigned metric);
