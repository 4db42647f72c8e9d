/* gw_hwkey.h - computes the public keys that a device derives from its hardware key. */
#pragma once

#include "cli/gateway/gw_command.h"
#include "cmxsafe/identity/attest_key.h"

/* Computes the public half of the device's SSH key. path: the operator's copy of the hardware key. */
CMX_MUST_USE cmx_err gw_hwkey_login(struct gw_key *k, const char *path, struct cmx_why *e);
/* Computes the key that verifies the device's signed evidence. */
CMX_MUST_USE cmx_err gw_hwkey_attest(struct cmx_attest_key *out, const char *path, struct cmx_why *e);

/* Stores the attestation key of the device. retire: the former one can't be used again. Sets *out to GW_CHANGED if it
 * was GW_UNCHANGED and the key is new. */
CMX_MUST_USE cmx_err gw_hwkey_store_attest(struct gw_registry *r, const char *device, const struct cmx_attest_key *k,
                                           bool retire, gw_outcome *out, struct cmx_why *e);
/* True if the device probably has a hardware key: its SSH key has the type of a derived key, and the registry has
 * an attestation key of the device. The registry does not store how the SSH key was made. */
bool gw_hwkey_is_derived(struct gw_registry *r, const struct gw_device *d);
