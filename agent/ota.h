/* ota.h (agent) - the update service as a module of the agent: its functions fill a row of the table in wiring.c. */
#ifndef CMX_AGENT_OTA_H
#define CMX_AGENT_OTA_H

#include "agent.h"

cmx_err ota_check(const struct agent_config *c, char *why, size_t cap);
void ota_plan(struct agent *a, struct confine_plan *p);
cmx_err ota_prepare(struct agent *a, char *why, size_t cap);
cmx_err ota_start(struct agent *a, char *why, size_t cap);
cmx_err ota_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap);
void ota_stop(struct agent *a);

#endif
