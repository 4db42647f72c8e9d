/* gw_inside.h - runs programs inside the running gateway's namespaces. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_COULD_NOT 127 /* exit status: the namespaces could not be entered, or the program could not be run */

/* Runs argv in a child process and returns its exit status, or GW_COULD_NOT. uid: see gw_inside_enter. quiet: discards
 * the output. */
int gw_inside(const struct gw *g, long uid, bool quiet, const char *const argv[]);
/* Starts this program with argv, to attest or update a device, and does not wait for its end. In system mode, it runs
 * as root with the account's group, which the packet filter permits to use the operator's identity as source. With
 * unprivileged, it runs as an unprivileged user instead, whom the filter permits to use the gateway's identity. out,
 * err: descriptors for its stdout and stderr. The program gets SIGTERM when this process ends. Its exit status is
 * GW_COULD_NOT if it could not be run. Returns -1 if fork failed. */
pid_t gw_inside_start(const struct gw *g, bool unprivileged, int out, int err, const char *const argv[]);
/* Moves this process into the namespaces, to execute a program there. uid >= 0: changes to this user and the user's
 * primary group. uid < 0: does not change the user, but changes to the group gid unless gid < 0. */
bool gw_inside_enter(const struct gw *g, long uid, long gid);
