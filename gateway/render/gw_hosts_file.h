/* gw_hosts_file.h - the devices' names and addresses in the form of /etc/hosts. Reads the registry, writes only to
 * f. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Writes the names of the gateway's host and of the active devices. The host is gateway.DOMAIN, and also gateway.cmx,
 * which devices' configurations use with any domain. */
CMX_MUST_USE cmx_err gw_hosts_names(FILE *f, struct gw *g, struct cmx_why *e);
/* Writes a complete hosts file: the loopback's names, then those that gw_hosts_names writes. */
CMX_MUST_USE cmx_err gw_hosts(FILE *f, struct gw *g, struct cmx_why *e);
