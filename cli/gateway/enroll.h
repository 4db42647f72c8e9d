/* enroll.h - shared by enroll, import and rotate. */
#ifndef CLI_GW_ENROLL_H
#define CLI_GW_ENROLL_H

#include "cli/gateway/gw.h"

/* Sets d->address: given, from a MAC, or derived from the key; "" in a small deployment. */
CMX_MUST_USE cmx_err gw_enroll_address(const struct gw *g, struct gw_device *d, const struct gw_key *k,
                                       const char *address, const char *mac, struct gw_error *e);

/* The public half of the SSH key that a device derives from its hardware key, of which path is the copy made at
 * burning. */
CMX_MUST_USE cmx_err gw_key_from_hwkey(struct gw_key *k, const char *path, struct gw_error *e);

#endif
