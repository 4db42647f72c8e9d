/* file_read.h - reads whole small files, checks those that must be private, and opens files that an operator names. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"

struct stat;

/* Reads a regular text file of at most max bytes, and leaves out a byte order mark. *out gets a NUL after the content;
 * free it with cmx_mem_free_secret. secret: refuses a file that group or others can access. why: one phrase, such as
 * "Permission denied". CMX_ENOENT: there is no such file; CMX_EPERM: no permission to read it, or it was refused
 * because of `secret`; CMX_EIO: not a regular file, or reading failed; CMX_EFORMAT: UTF-16 text; CMX_ENOSPC: longer
 * than max; CMX_ENOMEM. */
CMX_MUST_USE cmx_err cmx_file_read(const char *path, size_t max, bool secret, char **out, size_t *len,
                                   struct cmx_why *why);

/* Reads the first line of a secret file, without the newline. Errors as for cmx_file_read; CMX_EFORMAT also if the line
 * is empty or contains a NUL. */
CMX_MUST_USE cmx_err cmx_file_read_secret_line(const char *path, char **out, struct cmx_why *why);

/* Checks the type, size and mode of a secret file that a library will read. Errors as for cmx_file_read. */
CMX_MUST_USE cmx_err cmx_file_check_secret(const char *path, struct cmx_why *why);

/* True if neither the group nor others can access the file at path, whose status is *st. Exception: the group may read
 * the file if it is a credential of this unit (LoadCredential=). */
bool cmx_file_is_private(const struct stat *st, const char *path);

/* Returns the error for an errno value of a call with a path: CMX_ENOENT, CMX_EEXIST, CMX_EPERM or CMX_EIO. */
CMX_MUST_USE cmx_err cmx_file_error(int number);

/* Reads the beginning of a file, at most cap - 1 bytes, and ends it with a NUL. folder: as for openat; a symbolic link
 * is not followed. Returns the number of bytes; -1: out is empty, and errno has the reason. */
ssize_t cmx_file_read_begin(int folder, const char *name, char *out, size_t cap);

/* Opens a file or a pipe for reading; close it with fclose. Does not wait for a FIFO's writer: a FIFO without a writer
 * reads as empty. NULL: errno has the reason (EISDIR: it is a directory). */
FILE *cmx_file_open(const char *path);

/* Reads a file, a pipe, or stdin (path "-") of at most max bytes; *out gets a NUL after the content; free it with
 * cmx_mem_free_secret. Errors as for cmx_file_read. */
CMX_MUST_USE cmx_err cmx_file_read_any(const char *path, size_t max, char **out, size_t *len, struct cmx_why *why);

/* Like cmx_file_read_any, but for text: leaves out a byte order mark. CMX_EFORMAT: UTF-16 text. */
CMX_MUST_USE cmx_err cmx_file_read_text(const char *path, size_t max, char **out, size_t *len, struct cmx_why *why);
