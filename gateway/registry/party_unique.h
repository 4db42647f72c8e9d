/* party_unique.h - no device may have the address of another party. */
#pragma once

#include "gateway/registry/party.h"

/* Returns CMX_EEXIST if a device has the identity of another party as its address: the device would have that party's
 * access. c: the only party to check. c NULL: checks all parties, and the users of this machine. */
CMX_MUST_USE cmx_err gw_party_unique_check(struct gw_registry *r, const struct gw_fleet *f, const struct gw_consumer *c,
                                           struct cmx_why *e);
