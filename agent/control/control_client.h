/* control_client.h - the client of the control socket. */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* Sends one line to the agent at path and writes its answer to `to`, whose errors the caller checks. Errors and an
 * answer {"error":...} go to stderr. Returns the exit code: 1 after an error. */
int control_ask(const char *path, const char *line, FILE *to);

/* Finds the control socket that a configuration file names, and copies its path into out. file NULL: uses the default
 * file, or the default socket if that file cannot be read. Returns the exit code. */
int control_path(const char *file, char *out, size_t cap);

/* `cmxsafed status`. */
int cmd_status(int argc, char **argv);
