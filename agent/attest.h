/* attest.h - the agent's share of attestation and identity: opens the hardware key and what stands for flash before the
 * agent confines itself, then serves /hash and /evidence. */
#ifndef CMX_AGENT_ATTEST_H
#define CMX_AGENT_ATTEST_H

#include "agent.h"
#include "cmxsafe/core/json.h"
#include "linux_port.h"

/* Puts key and image behind port.h. Before any task starts. */
void attest_set_device(struct cmx_linux_device *d);

/* The rows of the module (wiring.h). Without [identity] there is no key, without `[attest] enabled` no service. */
void attest_plan(struct agent *a, struct confine_plan *p);
cmx_err attest_prepare(struct agent *a, char *why, size_t cap);
cmx_err attest_start(struct agent *a, char *why, size_t cap);
cmx_err attest_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap);
void attest_stop(struct agent *a);
void attest_json(struct agent *a, struct cmx_json *j);

#endif
