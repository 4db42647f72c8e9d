/* gw_sshd_config.h - the configuration of the gateway's own sshd. Pure. */
#ifndef GW_SSHD_CONFIG_H
#define GW_SSHD_CONFIG_H

#include "gateway/folder/gw_folder.h"

/* helper: the path of cmxsafe-authkeys as sshd sees it. */
void gw_sshd_config(FILE *f, const struct gw *g, const char *helper);

#endif
