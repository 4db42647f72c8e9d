/* gw_start.h - starts the gateway: opens the listening sockets, enters the namespaces, becomes the account, and runs
 * the server's loop. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Runs until SIGTERM or SIGINT. inside: this is the process in the namespaces of --user mode. Prints what failed, and
 * returns EXIT_SUCCESS or EXIT_FAILURE. */
int gw_start(struct gw *g, bool inside);

/* Fails if a gateway that is started now could not listen on its address, for example because another program listens
 * there. */
CMX_MUST_USE cmx_err gw_start_check_listen(const struct gw *g, struct cmx_why *e);
