/* agent_attest.h - attestation in the agent: the image that is measured in place of flash, and the service. */
#pragma once

#include "agent/module/module.h"
#include "port/linux/linux_port.h"

/* Makes the image available through port.h. Call before any task starts. */
void attest_set_device(struct cmx_linux_device *d);

/* Checks that the key file and the image can be used. `--check` calls this after unit_check has found no error. */
CMX_MUST_USE cmx_err attest_check_files(const struct agent_config *c, struct cmx_why *why);

/* Returns the configured port of [attest] while the agent does not serve this port; otherwise 0. */
uint16_t attest_off(const struct agent_config *c);

/* Opens the image before the agent confines itself, then serves /hash and /evidence. The confined agent
 * cannot open other files, so it refuses a reload that changes [identity] or [attest]. While a configured image cannot
 * be read, each request gets an error, never an answer that leaves the image out. */
extern const struct module attest_module;
