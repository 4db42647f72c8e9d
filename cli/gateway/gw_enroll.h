/* gw_enroll.h - enrols a device, for the commands enroll and import. */
#pragma once

#include "cli/gateway/gw_command.h"

/* A device as the operator described it. NULL: the operator did not give the value, so the stored value stays. "": the
 * stored ports, directs or group are cleared; an empty address or mac is refused. */
struct gw_enroll_fields {
    const char *name, *ports, *directs, *address, *mac, *group;
    bool former_key; /* accept an earlier key of the device, but keep its current key */
};

#define GW_DIRECT_OPTION(f)                                                                                            \
    CLI_TEXT("direct", "LIST", "services behind the gateway that the device may reach: HOST:PORT,...", &(f).directs,   \
             .former = "open", .or_empty = true)

/* Reads the current key of an enrolled device. CMX_ENOENT: there is no such device. */
CMX_MUST_USE cmx_err gw_enroll_get_key(struct gw_registry *r, const char *name, struct gw_key *k, struct cmx_why *e);

/* Enrols the device in the open transaction, and reads it back into d. */
CMX_MUST_USE cmx_err gw_enroll_fields(struct gw *g, const struct gw_enroll_fields *f, const struct gw_key *k,
                                      struct gw_device *d, gw_outcome *out, struct cmx_why *e);
