/* agent_identity.h - the hardware key of [identity] in the agent. The key may be missing at the start, for example
 * because its file system or the TPM is not there yet.
 *
 * If the SSH login needs the key, no session is opened before the agent has the key. The agent waits for it before it
 * confines itself, because the confined agent could not open a device or a folder that appears later. If only
 * attestation needs the key, the agent starts without it; each use of the key tries to open it, and fails until this
 * succeeds. No other key takes its place. */
#pragma once

#include "agent/module/module.h"
#include "port/linux/linux_port.h"

/* Makes the key available through port.h. Call before any task starts. */
void identity_set_device(struct cmx_linux_device *d);

/* Starts a task that opens the key, if the login needs it. Call after wiring_prepare. */
CMX_MUST_USE cmx_err identity_await(const struct wiring *w);

/* True while the login needs the key and the agent does not have it; *why then has the reason. */
bool identity_awaited(const struct agent_config *c, struct cmx_why *why);

/* Writes the key's kind and the device's identity as members of an object. Never waits for the key. */
void identity_json(struct cmx_json *j);

extern const struct module identity_module;
