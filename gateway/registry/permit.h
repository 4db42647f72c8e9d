/* permit.h - who may reach a device's service: local users, groups and cgroups of the gateway, and platforms that log
 * in with a key of their own. Default: nobody. Writers run inside the caller's transaction. */
#ifndef GW_PERMIT_H
#define GW_PERMIT_H

#include "gateway/registry/device.h"
#include "gateway/registry/registry.h"

#define GW_CONSUMER_MAX 200 /* a cgroup's path is the longest */

struct gw_consumer {
    char kind[12]; /* "user", "group", "cgroup" or "platform" */
    char name[GW_CONSUMER_MAX];
};

/* "user:alice", "group:ops", "cgroup:system.slice/nvr.service", "platform:vms"; without a kind it is a platform. */
CMX_MUST_USE cmx_err gw_consumer_parse(struct gw_consumer *c, const char *text, struct gw_error *e);

/* A platform and its key; again with another key replaces it (the old one is retired). */
CMX_MUST_USE cmx_err gw_platform_set(struct gw_registry *r, const char *name, const struct gw_key *k, gw_outcome *out,
                                     struct gw_error *e);
CMX_MUST_USE cmx_err gw_platform_revoke(struct gw_registry *r, const char *name, gw_outcome *out, struct gw_error *e);

/* port: one of the device's; 0 stands for all that it has now. CMX_ENOENT: no such device, port or platform. */
CMX_MUST_USE cmx_err gw_permit_set(struct gw_registry *r, const struct gw_consumer *c, const char *device,
                                   uint16_t port, gw_outcome *out, struct gw_error *e);
CMX_MUST_USE cmx_err gw_permit_remove(struct gw_registry *r, const struct gw_consumer *c, const char *device,
                                      uint16_t port, gw_outcome *out, struct gw_error *e);

struct gw_permit {
    struct gw_consumer consumer;
    char device[GW_NAME_MAX];
    char address[GW_ADDRESS_MAX];
    uint16_t port;
};

/* In order of consumer, device, port. kind NULL: all kinds. */
typedef cmx_err (*gw_permit_fn)(void *arg, const struct gw_permit *p);
CMX_MUST_USE cmx_err gw_permit_each(struct gw_registry *r, const char *kind, gw_permit_fn fn, void *arg,
                                    struct gw_error *e);

#endif
