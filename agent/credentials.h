/* credentials.h - can the SSH library use what the configuration names for the login? Asked when a configuration is
 * read, so that a key that can't be opened is an error of the configuration, not of every attempt to log in. */
#ifndef CMX_AGENT_CREDENTIALS_H
#define CMX_AGENT_CREDENTIALS_H

#include "agent.h"

/* Reads [gateway] key_file with its passphrase, and looks every name of ciphers up. CMX_EINVAL, CMX_ENOMEM; why: one
 * sentence. */
CMX_MUST_USE cmx_err credentials_check(const struct agent_config *c, char *why, size_t cap);

/* The same of the next configuration; a keeps what it has. */
CMX_MUST_USE cmx_err credentials_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap);

/* Wipes what the library may have left of a key on the stack below the caller: a thread may not come so deep again. */
void credentials_forget(void);

#endif
