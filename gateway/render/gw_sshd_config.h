/* gw_sshd_config.h - writes the configuration of the gateway's own sshd, which permits TCP forwards and nothing else.
 * Pure. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Writes the configuration. helper: the path of cmxsafe-authkeys as sshd sees it. */
CMX_MUST_USE cmx_err gw_sshd_config(FILE *f, const struct gw *g, const char *helper, struct cmx_why *e);
