/* unix_listen.h - listens at a UNIX socket that root, the caller's user and its group can connect to. */
#pragma once

#include "cmxsafe/core/err.h"

/* Creates a non-blocking listening socket at path. Replaces a socket there on which no process listens. Changes the
 * umask of the process for a moment. CMX_EBUSY: another process listens there; CMX_EEXIST: path is not a socket;
 * CMX_ENOSPC: the path is longer than 107 bytes, or no descriptor is left; CMX_ENOENT: no such folder; CMX_EPERM: no
 * permission; CMX_EIO: another failure. */
CMX_MUST_USE cmx_err cmx_unix_listen(const char *path, int backlog, int *fd);
