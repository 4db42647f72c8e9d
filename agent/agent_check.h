/* agent_check.h - loads a configuration for the start of the agent and for `--check`. */
#pragma once

#include <stdbool.h>

struct agent_config;

/* Runs `cmxsafed --check`: prints every error, or a summary if there is none. Returns the exit code. as_unit: the check
 * runs as the user of cmxsafed.service and applies the rules of the unit's sandbox; it fails if that is impossible.
 * With the default file this also happens without as_unit, but if it is impossible, the check runs as the current user.
 */
int agent_check(const char *config_file, bool as_unit);

/* Reads the file and lets each module check it. If there are errors, prints them and returns NULL. journal: the errors
 * are printed with the priorities that systemd's journal reads. */
struct agent_config *agent_check_load(const char *file, bool journal);
