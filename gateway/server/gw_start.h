/* gw_start.h - starts the gateway: listening sockets, the account, namespaces; then the server's loop. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Runs until SIGTERM or SIGINT. inside: this process is the one inside --user mode's namespaces. Prints what failed.
 * EXIT_SUCCESS or EXIT_FAILURE. */
int gw_start(struct gw *g, bool inside);
