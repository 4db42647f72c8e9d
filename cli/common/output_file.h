/* output_file.h - writes the file that a command makes. */
#pragma once

#include "port/linux/new_file.h"

/* Opens the file with cmx_new_file_open. key: the file that must not be replaced. CLI_OK, or CLI_FAILED after it has
 * printed the reason. */
int output_file_open(struct cmx_new_file *to, const char *path, const char *key);

/* Opens the file, writes `len` bytes and closes it. Returns what output_file_open returns. */
int output_file_write(const char *path, const void *data, size_t len, const char *key);
