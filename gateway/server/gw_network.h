/* gw_network.h - the fleet's network: routes, sysctls and rules of its namespace, and, in system mode, the link into
 * it. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_NETWORK_FIXED_SYSCTLS 6
#define GW_NETWORK_SYSCTLS 8       /* gw_links.c sets the last two */
#define GW_NETWORK_SYSCTLS_TEXT 64 /* room for the values of these sysctls, one per line */

/* Configures the network namespace that the caller is in. */
CMX_MUST_USE cmx_err gw_network_configure(struct gw *g, struct cmx_why *e);
/* Opens the sysctls that gw_network_configure and gw_links_up set. The descriptors always refer to the namespace that
 * the caller is in now. An element of fds is -1 if its file can't be opened. */
void gw_network_open_sysctls(int fds[GW_NETWORK_SYSCTLS]);
/* Reads the values of n sysctls that gw_network_open_sysctls opened. False: a value can't be read. */
bool gw_network_read_sysctls(const int *fds, size_t n, char out[GW_NETWORK_SYSCTLS_TEXT]);
/* True if all sysctls that gw_network_open_sysctls opened have the values that this program sets. links: also checks
 * the last two, which gw_links_up sets if the fleet has several gateways. */
bool gw_network_sysctls_are_set(const int *fds, bool links);
/* gw_network_up and gw_network_down set up and remove the namespace and link of system mode. gw_network_up loads files
 * that gw_apply has generated. Both functions print what failed, and return EXIT_SUCCESS or EXIT_FAILURE. The caller
 * holds the gateway's lock (gw_folder_lock). */
int gw_network_up(struct gw *g);
int gw_network_down(void);
/* Acquires the gateway's lock, and calls gw_network_down if the link leads into a former namespace. Leaves the network
 * alone if gw_network_up has set up the current namespace. Prints what failed. */
void gw_network_forget(struct gw *g);
