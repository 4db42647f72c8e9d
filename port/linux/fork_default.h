/* fork_default.h - fork for a child that becomes another program. */
#pragma once

#include <sys/types.h>

/* Forks. In the child no signal is blocked, and SIGTERM, SIGINT, SIGHUP and SIGPIPE have their default action. A signal
 * that arrives before the child's exec therefore ends the child; it does not run a handler of the parent, which would
 * ignore the signal. Returns as fork(2). */
pid_t cmx_fork_default(void);
