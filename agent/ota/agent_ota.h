/* agent_ota.h - the update service in the agent: hooks, spool and confirmation of an update. Without `[ota] install`
 * there is no service. */
#pragma once

#include "agent/module/module.h"

/* Reads the key files. `--check` and a reload refuse a configuration that fails here; an agent that starts with such a
 * configuration has no update service. */
CMX_MUST_USE cmx_err ota_check_files(const struct agent_config *c, struct cmx_why *why);

/* Returns the configured port of [ota] while the agent does not serve this port; otherwise 0. */
uint16_t ota_off(const struct agent_config *c);

/* True while an update is on trial: installed and running, but not confirmed. Any thread. */
bool ota_on_trial(void);
/* Call when the agent must end because it cannot start: if an update has been on trial for longer than confirm_within,
 * rolls it back and restarts. Blocks while the hooks run. */
void ota_start_failed(struct wiring *w);

/* True while a task ends a trial because the update service does not run. */
bool ota_ends_trial(void);

/* Starts the process that runs the hooks, and opens the spool, before the agent confines itself. */
extern const struct module ota_module;
