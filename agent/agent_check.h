/* agent_check.h - loads a configuration for the start of the agent and for `--check`. */
#pragma once

#include <stdbool.h>

struct agent_config;

/* Runs `cmxsafed --check`: prints every error, or a summary if there is none. Returns the exit code. as_unit: the check
 * uses the user and the sandbox of cmxsafed.service, and fails if it cannot. For the default file the check does so
 * wherever it can. */
int agent_check(const char *config_file, bool as_unit);

/* Reads the file and lets each module check it. Returns NULL after errors, which have been printed. journal: errors are
 * printed with the priorities that systemd's journal reads. */
struct agent_config *agent_check_load(const char *file, bool journal);
