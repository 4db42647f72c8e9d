/* gw_helper.h - finds cmxsafe-authkeys, sshd's AuthorizedKeysCommand. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Writes the helper's path as sshd sees it. If sshd would refuse the installed helper's path, copies the helper into
 * the gateway's folder. CMX_EPERM: sshd would refuse the copy's path, too. */
CMX_MUST_USE cmx_err gw_helper_path(const struct gw *g, char out[GW_PATH_MAX], struct cmx_why *e);

/* Writes the path at which the helper was installed with this program. */
CMX_MUST_USE cmx_err gw_helper_source(char out[GW_PATH_MAX], struct cmx_why *e);
