/* credentials.h - checks that libssh accepts the settings of [gateway]. A key that cannot be opened is reported when
 * the configuration is read, not at each login. */
#pragma once

#include "agent/config/agent_config.h"

#include "cmxsafe/core/why.h"

/* Creates a session object with all settings of [gateway] and reads the key. CMX_EINVAL: libssh refuses a setting or
 * the key; CMX_ENOMEM. */
CMX_MUST_USE cmx_err credentials_check(const struct agent_config *c, struct cmx_why *why);

/* Wipes the stack below the caller, where the library may have left a part of a key. */
void credentials_forget(void);
