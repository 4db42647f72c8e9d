/* output_file.h - opens the file that a command writes. */
#pragma once

#include "port/linux/new_file.h"

/* Opens the file with cmx_new_file_open. key: the file that must not be replaced. Returns CLI_OK; on CLI_FAILED
 * the reason was printed. */
int output_file_open(struct cmx_new_file *to, const char *path, const char *key);
