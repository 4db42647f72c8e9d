/* ota_runner.h - the agent gives up running programs when it confines itself; this small process, forked before that,
 * does it for the update handler's hooks. It runs the configured commands and nothing that a peer sends: requests name
 * a hook. */
#ifndef CMX_AGENT_OTA_RUNNER_H
#define CMX_AGENT_OTA_RUNNER_H

#include <stddef.h>
#include <sys/types.h>

#include "cmxsafe/core/err.h"

typedef enum {
    RUNNER_INSTALL,
    RUNNER_CONFIRM,
    RUNNER_ROLLBACK,
    RUNNER_RESTART,
    RUNNER_VERSION,
    RUNNER_HOOKS
} runner_hook;

struct runner {
    pid_t pid;
    int fd; /* to it; -1: not running */
};

/* command: by hook, run by /bin/sh -c; NULL: the hook succeeds and does nothing. Forks: before any thread starts.
 * CMX_EIO. */
CMX_MUST_USE cmx_err runner_start(struct runner *r, const char *const command[RUNNER_HOOKS]);

/* Runs one hook and waits for its end. in: its standard input, or -1. line: its last line of output, printable. CMX_OK:
 * exit status 0; CMX_EPERM: another one; CMX_EIO: the runner is gone. One caller at a time. */
CMX_MUST_USE cmx_err runner_call(struct runner *r, runner_hook hook, int in, char *line, size_t cap);

/* Ends it, and waits. A hook under way is waited for. Safe when it does not run. */
void runner_stop(struct runner *r);

#endif
