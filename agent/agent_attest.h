/* agent_attest.h - attestation and identity in the agent. Before the agent confines itself, this module opens the
 * hardware key, and the image that evidence measures in place of flash. Then it serves /hash and /evidence. */
#pragma once

#include "agent/config/agent_config.h"
#include "agent/confine/confine.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/why.h"
#include "port/linux/linux_port.h"

struct cmx_proxy;
struct isolation;

/* Makes the key and the image available through port.h. Call before any task starts. */
void attest_set_device(struct cmx_linux_device *d);

/* For --check, after unit_check found no error: checks that the key file and the image can be used. */
CMX_MUST_USE cmx_err attest_check_files(const struct agent_config *c, struct cmx_why *why);

/* Opens the key and the image if their sections are configured. Call before the agent confines itself. */
CMX_MUST_USE cmx_err attest_prepare(const struct agent_config *c, struct cmx_why *why);
void attest_plan(const struct agent_config *c, struct confine_plan *p);
/* isolation (may be NULL) and proxy are borrowed until attest_stop. */
CMX_MUST_USE cmx_err attest_start(const struct agent_config *c, struct isolation *isolation, struct cmx_proxy *proxy,
                                  struct cmx_why *why);
/* Applies a reload. now: the configuration in force. CMX_EINVAL: a change in next needs a restart. */
CMX_MUST_USE cmx_err attest_reload(const struct agent_config *now, const struct agent_config *next,
                                   struct cmx_why *why);
void attest_stop(void);
void attest_json(struct cmx_json *j);
