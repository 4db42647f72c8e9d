/* gw_hwkey.h - computes the public keys that a device derives from its hardware key. */
#pragma once

#include "cli/gateway/gw_command.h"
#include "cmxsafe/identity/attest_key.h"

/* Computes the public half of the device's SSH key. path: the operator's copy of the hardware key. */
CMX_MUST_USE cmx_err gw_hwkey_login(struct gw_key *k, const char *path, struct cmx_why *e);
/* Computes the key that verifies the device's signed evidence. */
CMX_MUST_USE cmx_err gw_hwkey_attest(struct cmx_attest_key *out, const char *path, struct cmx_why *e);
