/* gw_program.h - runs the system's programs: ip, nft, ssh-keygen, useradd, systemctl. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Call once, when a command starts. Sets the umask to 022, so that files are readable by all unless the command makes
 * them private, and appends the system's folders to PATH, because a caller's PATH may lack the sbin folders. */
void gw_program_environment(void);
/* Returns the umask that gw_program_environment found. */
mode_t gw_program_umask(void);

/* Runs argv and waits. True when it exits with 0. argv[0]: an absolute path or a name for PATH. quiet: drops stdout and
 * stderr. */
bool gw_program_run(bool quiet, const char *const argv[]);

/* Like gw_program_run, and stores the standard output in *text, which must be freed with free(), also after a failure.
 * False if it writes more than a megabyte. */
bool gw_program_output(const char *const argv[], char **text, size_t *len);
/* Like gw_program_output, for a program that passes on what another machine writes, as ssh does. Its standard error is
 * bounded, too, and printed without control characters. */
bool gw_program_output_foreign(const char *const argv[], char **text, size_t *len);
