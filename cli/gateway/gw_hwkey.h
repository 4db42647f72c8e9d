/* gw_hwkey.h - keys that devices derive from their hardware keys. */
#pragma once

#include "cli/gateway/gw_command.h"
#include "cmxsafe/identity/attest_key.h"

/* Makes the public half of the SSH key that a device derives from its hardware key. path: the copy of that key, made
 * when it was burnt. */
CMX_MUST_USE cmx_err gw_hwkey_login(struct gw_key *k, const char *path, struct cmx_why *e);
/* Makes the key that verifies the device's signed evidence. */
CMX_MUST_USE cmx_err gw_hwkey_attest(struct cmx_attest_key *out, const char *path, struct cmx_why *e);
