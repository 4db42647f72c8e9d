/* party_unique.h - checks that no device has the identity of another party as its address. */
#pragma once

#include "gateway/registry/party.h"

/* Returns CMX_EEXIST if a device has the identity of another party as its address, because the device would have that
 * party's access. c: the party to check; NULL: all parties, and the users of this machine. */
CMX_MUST_USE cmx_err gw_party_unique_check(struct gw_registry *r, const struct gw_fleet *f, const struct gw_consumer *c,
                                           struct cmx_why *e);
