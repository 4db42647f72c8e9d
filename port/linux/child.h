/* child.h - forks a child that will execute another program, waits for its end, and ends it together with its parent.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Forks. In the child no signal is blocked, and every signal has its default action. A SIGTERM that arrives before the
 * child's exec therefore ends the child; a handler inherited from the parent would not end it. Returns as fork(2). */
pid_t cmx_child_fork(void);

/* Makes the kernel send the signal to this process when its parent ends. Call this after the last change of user or
 * group ids, because such a change clears the setting. False: this process is no longer a child of `parent`, which has
 * ended; the caller must exit. */
bool cmx_child_end_with(pid_t parent, int signo);

/* Waits for the end of a child. Returns its exit status, or 128 plus the number of the signal that ended it. Returns
 * -1 if there is no such child, or if pid is not above 0. */
int cmx_child_wait(pid_t pid);

/* Reaps the children that have ended, except for the n children in `own`. Call it regularly in a process that may be
 * the first process of a container, because that process becomes the parent of every orphan. */
void cmx_child_reap_others(const pid_t own[], size_t n);
