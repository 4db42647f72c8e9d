/* file.h - reads whole small files, and those that must be private. */
#ifndef CMX_AGENT_FILE_H
#define CMX_AGENT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "cmxsafe/core/err.h"

/* The content with a NUL behind it, to be freed with cmx_mem_free_secret. secret: refuses what group or others can
 * access (CMX_EPERM). Only regular files of at most max bytes. why: one phrase, such as "Permission denied".
 * CMX_ENOENT, CMX_EPERM, CMX_EIO, CMX_ENOSPC, CMX_ENOMEM. */
CMX_MUST_USE cmx_err file_read(const char *path, size_t max, bool secret, char **out, size_t *len, char *why,
                               size_t why_cap);

/* A secret file's first line, without its end. CMX_EFORMAT: empty or with a NUL. */
CMX_MUST_USE cmx_err file_read_secret_line(const char *path, char **out, char *why, size_t why_cap);

/* Only the checks, for a file that someone else reads later. */
CMX_MUST_USE cmx_err file_check_secret(const char *path, char *why, size_t why_cap);

#endif
