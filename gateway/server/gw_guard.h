/* gw_guard.h - system mode: watches what keeps the fleet's parties apart: the packet filter's tables in the namespace
 * and on the host, the link, routes, routing rules and the namespace itself. Restores what someone removed, and tells
 * the running gateway, whose status, doctor and metrics report it. Runs as root beside the server, which has no
 * privileges. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Watches until SIGTERM or SIGINT, or until the process child ends (0: there is none); passes the signal on to it.
 * Returns EXIT_SUCCESS, or the child's exit status. ready: called once everything is watched; may be NULL. */
int gw_guard_run(struct gw *g, pid_t child, void (*ready)(void));
