/* agent_ota.h - the update service in the agent: hooks, spool and confirmation of an update. Without `[ota] install`
 * there is no service. */
#pragma once

#include "agent/module/module.h"

/* Starts the process that runs the hooks, and opens the spool, before the agent confines itself. */
extern const struct module ota_module;
