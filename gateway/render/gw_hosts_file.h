/* gw_hosts_file.h - the devices' names and addresses in the form of /etc/hosts. Reads the registry, writes only to
 * f. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Writes the gateway's host, as gateway.DOMAIN and gateway.cmx (which devices' configurations name whatever the domain
 * is), and the active devices. */
CMX_MUST_USE cmx_err gw_hosts_names(FILE *f, struct gw *g, struct cmx_why *e);
/* Writes a complete hosts file: the loopback's names, then the same names. */
CMX_MUST_USE cmx_err gw_hosts(FILE *f, struct gw *g, struct cmx_why *e);
