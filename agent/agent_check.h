/* agent_check.h - loads a configuration for a start of the agent, and `--check`. */
#ifndef CMX_AGENT_CHECK_H
#define CMX_AGENT_CHECK_H

#include <stdbool.h>

struct agent_config;

/* `--check`: prints every error, or a summary. as_unit, or root and the default file: as the user and sandbox of
 * cmxsafed.service. Returns the exit code. */
int agent_check(const char *config_file, bool as_unit);

/* Reads the file, and asks each module whether it accepts it. NULL: the errors have been printed. journal: with
 * priorities, for the journal. */
struct agent_config *agent_check_load(const char *file, bool journal);

#endif
