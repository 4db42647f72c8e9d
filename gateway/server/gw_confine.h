/* gw_confine.h - confines a session's sshd with Landlock and seccomp. All sessions run as the gateway's account.
 * Landlock prevents a session from writing to files (except /dev/null and /dev/tty), from tracing other sessions and
 * the server and, since Linux 6.12, from signalling them. Because control groups are files, a session also can't leave
 * its control group. seccomp refuses F_OFD_SETLK, whose file locks belong to no process, because gw_locks.h finds
 * sessions by the process that has the lock. The confinement applies to the calling process and its descendants, and
 * can't be undone. */
#pragma once

#include <stdbool.h>

/* Returns a descriptor of the ruleset for all sessions. -1: the kernel has no Landlock. */
int gw_confine_ruleset(void);
/* Confines the calling process; call it in the child before it runs sshd. Allocates no memory. False: not confined. */
bool gw_confine(int ruleset);
/* Confines the calling process in the same way, if the kernel has Landlock. The worker's children call it:
 * they run as the same user, and could otherwise trace each other. False: the kernel has Landlock, but the process is
 * not confined. */
bool gw_confine_self(void);
