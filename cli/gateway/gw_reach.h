/* gw_reach.h - lets an operator's command reach devices that are connected to other gateways: the operator has grants
 * while the command runs. On this gateway operators need no grant. The other gateways require a grant, as for any local
 * user. */
#pragma once

#include "cli/gateway/gw_command.h"
#include "gateway/registry/grant.h"

#define GW_REACH_S (24 * 3600) /* the grants end after this many seconds, even if the command fails to remove them */

struct gw_reached; /* one device and its grant */

struct gw_reach {
    const struct gw_common *common;
    struct gw_consumer operator;
    char source[GW_ADDRESS_MAX]; /* the operator's identity */
    uint16_t port;
    const char *why;
    struct gw_reached *list;
};

/* Adds the device if it is connected to another gateway and the operator has no active grant for it. g must be open. */
CMX_MUST_USE cmx_err gw_reach_add(struct gw_reach *r, struct gw *g, const struct gw_device *d, struct cmx_why *e);
/* Creates the grants, and waits until the other gateways have applied them. Returns CLI_*, and prints errors. */
int gw_reach_open(struct gw_reach *r);
/* Removes the grants, and frees the list. Returns CLI_*, and prints errors. */
int gw_reach_close(struct gw_reach *r);
