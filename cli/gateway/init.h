/* init.h - the parts of `cmxsafe gateway init` that write files and speak to the person. */
#ifndef CLI_GW_INIT_H
#define CLI_GW_INIT_H

#include "cli/gateway/gw.h"

/* Host keys, sshd_config, permissions; in the system mode also the account and the systemd units. */
CMX_MUST_USE cmx_err gw_install(struct gw *g, struct gw_error *e);

/* The look-up helper that sshd will run, as sshd sees it. CMX_EPERM: no copy of it has a path that sshd accepts. */
CMX_MUST_USE cmx_err gw_helper_path(const struct gw *g, char out[GW_PATH_MAX], struct gw_error *e);

/* Where the helper was installed beside this program. */
CMX_MUST_USE cmx_err gw_helper_source(char out[GW_PATH_MAX], struct gw_error *e);

/* What was set up (done: "set up " or "updated ") or is only shown (NULL), and the pins that devices need. */
void gw_print_init(struct gw *g, bool json, const char *done);

/* "SHA256:..." of a host key of the gateway; "" when it can't be read. */
void gw_pin(const struct gw *g, const char *name, char out[GW_FINGERPRINT_MAX]);

#endif
