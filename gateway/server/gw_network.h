/* gw_network.h - the fleet's network: routes, sysctls and rules of its namespace, and the system mode's link into it.
 */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Configures the network namespace that the caller is in. */
CMX_MUST_USE cmx_err gw_network_configure(struct gw *g, struct cmx_why *e);
/* gw_network_up and gw_network_down set up and remove the namespace and link of system mode. gw_network_up loads files
 * that gw_apply has generated. Both functions print what failed, and return EXIT_SUCCESS or EXIT_FAILURE. */
int gw_network_up(struct gw *g);
int gw_network_down(void);
