/* gw_helper.h - where cmxsafe-authkeys, sshd's AuthorizedKeysCommand, is installed. */
#ifndef GW_HELPER_H
#define GW_HELPER_H

#include "gateway/folder/gw_folder.h"

/* The helper's path as sshd sees it; copies it into the folder where the installed one is at a path that sshd refuses.
 * CMX_EPERM: sshd also refuses the copy's path. */
CMX_MUST_USE cmx_err gw_helper_path(const struct gw *g, char out[GW_PATH_MAX], struct cmx_why *e);

/* Where the helper was installed with this program. */
CMX_MUST_USE cmx_err gw_helper_source(char out[GW_PATH_MAX], struct cmx_why *e);

#endif
