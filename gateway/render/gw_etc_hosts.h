/* gw_etc_hosts.h - updates the block with the devices' names in the system's /etc/hosts. Pure. */
#pragma once

#include <stdbool.h>

#include "gateway/folder/gw_folder.h"

/* Copies the file's content `old` of len bytes to out. Replaces the content of the block with the text `lines`, or
 * appends a block if there is none. lines NULL: removes the block. Does not change bytes outside the block, except that
 * it adds a missing newline before it appends a block. Also preserves lines that were added by hand within the block.
 * If the end marker is missing, the block ends at the first line that the gateway did not write. */
void gw_etc_hosts_merge(FILE *out, const struct gw *g, const char *old, size_t len, const char *lines);
