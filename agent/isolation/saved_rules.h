/* saved_rules.h - the last ruleset that the agent installed, in the folder that systemd keeps for it (StateDirectory=,
 * $STATE_DIRECTORY). cmxsafed-isolation.service loads it at boot, before the network comes up. Without $STATE_DIRECTORY
 * nothing is saved. */
#pragma once

#include "cmxsafe/core/buf.h"

/* Returns the folder, or NULL: rules are not saved. */
const char *saved_rules_folder(void);

/* Replaces the saved ruleset in one step. CMX_ENOENT: no folder; CMX_EIO: the file cannot be
 * written. */
CMX_MUST_USE cmx_err saved_rules_write(const char *text);

/* Reads the saved ruleset. CMX_ENOENT: there is none; CMX_EIO: it cannot be read; CMX_ENOSPC: out
 * is too small. */
CMX_MUST_USE cmx_err saved_rules_read(struct cmx_buf *out);

/* Removes the saved ruleset, so that the next boot does not load it. Call this when isolation is not enabled. */
void saved_rules_remove(void);
