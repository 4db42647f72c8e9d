/* gw_guard.h - system mode: watches everything that isolates the fleet's parties from each other: the packet filter's
 * tables in the namespace and on the host, the link, routes, routing rules and the namespace itself. Undoes changes by
 * other programs and reports them to the running gateway; 'cmxsafe gateway status', doctor and metrics show them. Runs
 * as root, separately from the server, which has no privileges. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Watches until SIGTERM or SIGINT or, if child is not 0, until the process child ends; the signals are passed on to the
 * child. Returns EXIT_SUCCESS, or the child's exit status. ready: called once everything is watched; may be NULL. */
int gw_guard_run(struct gw *g, pid_t child, void (*ready)(void));
