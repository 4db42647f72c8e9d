/* output_file.h - opens the file that a command writes. */
#pragma once

#include "port/linux/new_file.h"

/* Opens the file at path with cmx_new_file_open. key: path of the command's key file; fails if path is the same file,
 * or "-". Returns CLI_OK; on CLI_FAILED the reason was printed. */
int output_file_open(struct cmx_new_file *to, const char *path, const char *key);
