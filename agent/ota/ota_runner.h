/* ota_runner.h - runs the update hooks. The agent cannot start programs once it has confined itself, so it forks a
 * small process, the runner, before that. A request names a hook; the commands come from the configuration. Nothing
 * that a peer sends becomes part of a command.
 *
 * There are two runners: a parent, and its child, which runs the hooks. Either may be killed, for example by the kernel
 * when memory is short. If the child is killed, the parent ends the processes that the child's hook left, and starts
 * another child. If the parent is killed, the child becomes the parent, and starts a child.
 *
 * The command of a hook is run by /bin/sh -c in a session of its own. The exit status of the command is the outcome.
 * Processes that the command leaves behind are ended (SIGTERM, then SIGKILL) when it exits. A hook that exceeds its
 * limit, or is still running when the agent stops or dies, is ended with all its descendants. A hook has default signal
 * dispositions, an empty signal mask and three descriptors: its standard input, and a pipe to the runner as its
 * standard output and standard error. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

typedef enum {
    RUNNER_INSTALL,
    RUNNER_CONFIRM,
    RUNNER_ROLLBACK,
    RUNNER_RESTART,
    RUNNER_VERSION,
    RUNNER_HOOKS
} runner_hook;

#define RUNNER_LINE_MAX 160 /* maximum length of the line that is kept from a hook's output, with its NUL */

struct runner_command {
    const char *text;  /* NULL: the hook does nothing and succeeds; borrowed until ota_runner_start returns */
    uint64_t limit_ms; /* how long the hook may run */
};

struct runner {
    int fd[2];    /* sockets to the parent and to the child; -1: not running. Changed only with the lock held */
    bool calling; /* a hook is running; protected by the lock */
    pthread_mutex_t lock;
    atomic_bool aborted;
    uint64_t limit_ms[RUNNER_HOOKS];
};

#define RUNNER_NONE                                                                                                    \
    {                                                                                                                  \
        .fd = {-1, -1}, .lock = PTHREAD_MUTEX_INITIALIZER                                                              \
    }

/* Forks: call it before any thread starts. CMX_EIO: the processes could not be started. */
CMX_MUST_USE cmx_err ota_runner_start(struct runner *r, const struct runner_command command[RUNNER_HOOKS]);

/* Runs one hook and waits for its end. in: descriptor of the hook's standard input, or -1. CMX_OK: the exit status is
 * 0, and line is the last line of output, printable. On an error, line is a sentence for people, which ends with the
 * hook's own last line. CMX_EPERM: another exit status. CMX_EIO: the hook was not run. After other errors it
 * is not known what the hook has done: CMX_ETIMEOUT: the hook was ended at its limit; CMX_ECLOSED: the hook or its
 * runner was killed, or ota_runner_abort was called. One caller at a time. */
CMX_MUST_USE cmx_err ota_runner_call(struct runner *r, runner_hook hook, int in, char *line, size_t cap);

/* Starts another runner in place of one that was killed; ota_runner_call does this too. Call it at intervals, so that
 * two runners which are killed one after the other are both replaced. False: both were killed, and no hook can be run
 * until the agent restarts. Any thread. */
bool ota_runner_restore(struct runner *r);

/* Ends the hook that is running, if any; ota_runner_call then returns within seconds, and later calls fail. Any thread.
 */
void ota_runner_abort(struct runner *r);

/* Ends the runners and waits for their end. A running hook ends as with ota_runner_abort. Safe if no runner is running.
 */
void ota_runner_stop(struct runner *r);
