/* gw_account.h - gives up privileges permanently. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Changes the ids of this process to uid and gid, and removes all supplementary groups. Needs CAP_SETUID and
 * CAP_SETGID. False: see errno; the process may then have only some of the new ids, so it must exit. */
bool gw_account_become(uid_t uid, gid_t gid);
/* Clears every capability of this process, which must not run as root. False: see errno. */
bool gw_account_drop_capabilities(void);
