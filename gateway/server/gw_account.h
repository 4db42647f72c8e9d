/* gw_account.h - gives up privileges permanently. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Becomes this user, without supplementary groups. Needs CAP_SETUID and CAP_SETGID. False: see errno; part of the
 * change may be made. */
bool gw_account_become(uid_t uid, gid_t gid);
/* Clears every capability of a process that is not root. False: see errno. */
bool gw_account_drop_capabilities(void);
