/* gw_hosts_file.h - writes the devices' names and addresses in the format of /etc/hosts. Reads the registry; writes
 * only to f. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Writes the names of the gateway's host and of the active devices. The host's names are gateway.DOMAIN and
 * gateway.cmx. The devices' configurations can use gateway.cmx whatever the domain is. */
CMX_MUST_USE cmx_err gw_hosts_names(FILE *f, struct gw *g, struct cmx_why *e);
/* Writes a complete hosts file: the names of the loopback, then the names from gw_hosts_names. */
CMX_MUST_USE cmx_err gw_hosts(FILE *f, struct gw *g, struct cmx_why *e);
