/* gw_etc_hosts.h - the block with the devices' names in the system's /etc/hosts. Pure. */
#pragma once

#include <stdbool.h>

#include "gateway/folder/gw_folder.h"

/* Writes old (len bytes, the file as it is) to out, with the block replaced by lines, or removed where lines is NULL.
 * Keeps every byte outside the block, line ends included, a last line without newline, and lines that were added by
 * hand within the block. Without its end marker, the block ends at the first line that the gateway did not write. */
void gw_etc_hosts_merge(FILE *out, const struct gw *g, const char *old, size_t len, const char *lines);
