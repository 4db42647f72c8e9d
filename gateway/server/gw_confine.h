/* gw_confine.h - confines a session's sshd with Landlock. All sessions run as the gateway's account; Landlock prevents
 * them from writing to any file (control groups included, so that a session can't leave its own), and from tracing or
 * signalling other sessions and the server. The confinement applies to the calling process and its descendants, and
 * can't be undone. */
#pragma once

#include <stdbool.h>

/* Creates the ruleset for all sessions. -1: the kernel has no Landlock. */
int gw_confine_ruleset(void);
/* Confines the child before it runs sshd. Allocates nothing. False: not confined. */
bool gw_confine(int ruleset);
