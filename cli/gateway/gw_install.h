/* gw_install.h - the parts of `cmxsafe gateway init` that write files and print the result. */
#pragma once

#include "cli/gateway/gw_command.h"

/* Creates the host keys and sshd_config, and sets permissions. For a system gateway, also creates the account and the
 * systemd units. False: e has the reason. */
bool gw_install(struct gw *g, struct cmx_why *e);

/* CMX_EPERM: a user other than the gateway's owner can change one of its files. */
CMX_MUST_USE cmx_err gw_install_check_owners(struct gw *g, struct cmx_why *e);

/* Computes the public part of the host key at path. */
CMX_MUST_USE cmx_err gw_install_public(const char *path, struct gw_key *out, struct cmx_why *e);

/* Prints the settings and the pins that devices need. done: what init has done, "set up " or "updated "; `show` gives
 * NULL. */
void gw_install_print(struct gw *g, bool json, const char *done);

/* Returns the command that restarts a system gateway. */
const char *gw_install_restart(const struct gw *g);
