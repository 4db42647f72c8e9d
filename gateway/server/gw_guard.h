/* gw_guard.h - system mode: watches everything that isolates the fleet's parties from each other: the packet filter's
 * tables in the namespace and on the host, the link, routes, routing rules and the namespace itself. Undoes changes by
 * other programs and reports them to the running gateway; 'cmxsafe gateway status', doctor and metrics show them. Runs
 * as root, separately from the server, which has no privileges. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* child 0: watches until SIGTERM or SIGINT, and returns EXIT_SUCCESS. Otherwise passes signals on to the process
 * `child`, watches until the child ends, and returns the child's exit status. If the rules can't be watched or the
 * namespace was replaced, ends the child and returns EXIT_FAILURE. ready: called once everything is watched; may be
 * NULL. */
int gw_guard_run(struct gw *g, pid_t child, void (*ready)(void));
