/* gw_files.h - writes files and makes folders. The modes are set explicitly, independent of the umask. */
#pragma once

#include <stddef.h>

#include "gateway/registry/registry.h"

/* Replaces path atomically by a new file (temporary file, fsync, rename). CMX_EBUSY: path is a mount point. */
CMX_MUST_USE cmx_err gw_file_write(const char *path, const char *text, size_t len, unsigned mode, struct cmx_why *e);
/* Overwrites the file instead of replacing it, for a file that is also mounted elsewhere. A reader may see incomplete
 * text. mode 0: keeps the present mode. */
CMX_MUST_USE cmx_err gw_file_write_in_place(const char *path, const char *text, size_t len, unsigned mode,
                                            struct cmx_why *e);
/* Replaces a system file such as /etc/hosts: follows links, and keeps mode and owner. Atomic if the file can be
 * replaced; a mounted file is overwritten. */
CMX_MUST_USE cmx_err gw_file_rewrite(const char *path, const char *text, size_t len, struct cmx_why *e);
/* Reads the whole file into *text; free it with free(), also after a failure. A missing file gives empty text. */
CMX_MUST_USE cmx_err gw_file_read(const char *path, char **text, size_t *len, struct cmx_why *e);
/* Makes the folder path, and the missing folders above it (mode 0755). An existing folder gets this mode. */
CMX_MUST_USE cmx_err gw_file_mkdir(const char *path, unsigned mode, struct cmx_why *e);
