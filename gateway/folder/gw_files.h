/* gw_files.h - reads and writes files, and creates folders. The umask has no effect on their modes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "gateway/registry/registry.h"

/* Replaces path atomically with a new file (temporary file, fsync, rename). CMX_EBUSY: path is a mount point. */
CMX_MUST_USE cmx_err gw_file_write(const char *path, const char *text, size_t len, unsigned mode, struct cmx_why *e);
/* Overwrites the file. Use this if the file is mounted elsewhere: after a replacement, the mount would still show the
 * former file. A reader may see incomplete text. If the disk has no room for the text, the file stays as it is. mode 0:
 * keeps the current mode. */
CMX_MUST_USE cmx_err gw_file_write_in_place(const char *path, const char *text, size_t len, unsigned mode,
                                            struct cmx_why *e);
/* Replaces a system file such as /etc/hosts. Follows links, and keeps mode and owner. The replacement is atomic. A file
 * that can't be replaced, such as a mount point, is overwritten instead. A missing file is created in place. */
CMX_MUST_USE cmx_err gw_file_rewrite(const char *path, const char *text, size_t len, struct cmx_why *e);
/* Removes the temporary files that gw_file_write left in the folder when a process was killed while it wrote one of
 * these n files. Files younger than a minute stay, because a writer may still use them. */
void gw_file_remove_temporary(const char *folder, const char *const names[], size_t n);
/* Ends a text that was written to f, which open_memstream returned; f NULL: open_memstream failed. err: the result of
 * writing the text. Closes f. Returns err, or CMX_ENOMEM if memory ran out. */
CMX_MUST_USE cmx_err gw_file_end_text(FILE *f, cmx_err err, struct cmx_why *e);
/* Reads the whole file into *text; free it with free(), even after a failure. A missing file counts as empty. */
CMX_MUST_USE cmx_err gw_file_read(const char *path, char **text, size_t *len, struct cmx_why *e);
/* Creates the folder path with this mode, and the missing folders above it with mode 0755. If path exists, changes its
 * mode. */
CMX_MUST_USE cmx_err gw_file_mkdir(const char *path, unsigned mode, struct cmx_why *e);
/* Writes text with a single write(2) to an existing file, such as one in /proc or in a control group. dir: descriptor
 * of the folder, or AT_FDCWD. False: see errno. */
bool gw_file_put(int dir, const char *path, const char *text);
