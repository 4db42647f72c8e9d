/* agent_ota.h - the update service in the agent: hooks, spool and confirmation of an update. Without `[ota] install`
 * there is no service. */
#pragma once

#include "agent/config/agent_config.h"
#include "agent/confine/confine.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/why.h"

struct cmx_proxy;
struct isolation;

CMX_MUST_USE cmx_err ota_check(const struct agent_config *c, struct cmx_why *why);
/* Starts the process that runs the hooks, and opens the spool. Call it before any thread starts. */
CMX_MUST_USE cmx_err ota_prepare(const struct agent_config *c, struct cmx_why *why);
void ota_plan(const struct agent_config *c, struct confine_plan *p);
/* isolation (may be NULL) and proxy are borrowed until ota_stop. */
CMX_MUST_USE cmx_err ota_start(const struct agent_config *c, struct isolation *isolation, struct cmx_proxy *proxy,
                               struct cmx_why *why);
void ota_stop(void);
/* Adds "ota" to the object that is open: whether the service runs, and its state. */
void ota_json(struct cmx_json *j);
