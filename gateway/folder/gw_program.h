/* gw_program.h - runs the system's programs: ip, nft, ssh-keygen, useradd, systemctl. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "cmxsafe/core/err.h"

/* Call this once, when a command starts. Sets the umask to 022, so that files are readable by all unless the command
 * makes them private, and appends the system's folders to PATH, because a caller's PATH may lack the sbin folders. */
void gw_program_environment(void);
/* Returns the umask that gw_program_environment replaced. */
mode_t gw_program_umask(void);

/* Runs argv and waits for its end. True if it exits with 0. argv[0]: an absolute path, or a name to be found in PATH.
 * quiet: discards stdout and stderr. */
bool gw_program_run(bool quiet, const char *const argv[]);
/* Like gw_program_run, with a command line: words separated by one blank each. A value that is inserted stays within
 * its word, whatever it contains. If a word is empty, the program is not run. */
bool gw_program_runf(bool quiet, const char *fmt, ...) CMX_PRINTF(2, 3);

/* Like gw_program_run, and stores the standard output in *text, which must be freed with free(), even after a failure.
 * Also false if the program writes more than a megabyte. */
bool gw_program_output(const char *const argv[], char **text, size_t *len);
/* Like gw_program_output, for a program such as ssh that passes on text from another machine. Its standard error is
 * limited, too, and is printed without control characters. */
bool gw_program_output_foreign(const char *const argv[], char **text, size_t *len);
