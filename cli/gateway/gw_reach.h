/* gw_reach.h - lets an operator's command reach devices that are connected to other gateways. There, the operator needs
 * a grant like any other user, so the operator gets grants while the command runs. For devices that are connected to
 * this gateway, the operator needs no grant. */
#pragma once

#include "cli/gateway/gw_command.h"
#include "gateway/registry/grant.h"

#define GW_REACH_S (24 * 3600) /* the grants end after this many seconds, even if the command fails to remove them */

struct gw_reached; /* a device, and the operator's grant to it */

struct gw_reach {
    const struct gw_common *common;
    struct gw_consumer operator;
    char source[GW_ADDRESS_MAX]; /* the operator's identity */
    uint16_t port;
    const char *why;
    struct gw_reached *list;
};

/* Adds the device to r->list if it is connected to another gateway and the operator has no active grant to it. g must
 * be open. */
CMX_MUST_USE cmx_err gw_reach_add(struct gw_reach *r, struct gw *g, const struct gw_device *d, struct cmx_why *e);
/* Creates the grants, and waits for up to 10 s until the other gateways have applied them. Returns CLI_*, and prints
 * errors. */
int gw_reach_open(struct gw_reach *r);
/* Removes the grants, restores inactive grants that they replaced, and frees the list. Returns CLI_*, and prints
 * errors. */
int gw_reach_close(struct gw_reach *r);
