/* credentials.h - checks the credentials of [gateway], and removes what libraries leave of them in memory. */
#pragma once

#include "agent/config/agent_config.h"
#include "cmxsafe/core/why.h"

/* Tries the settings of [gateway] with a temporary libssh session and reads the private key, so that a key that cannot
 * be opened is reported when the configuration is read, not at each login. CMX_EINVAL: libssh refuses a setting or the
 * key. */
CMX_MUST_USE cmx_err credentials_check(const struct agent_config *c, struct cmx_why *why);

/* Wipes the stack below the caller, where libssh or OpenSSL may have left a part of a key. */
void credentials_forget(void);
