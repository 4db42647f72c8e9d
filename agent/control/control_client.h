/* control_client.h - the client of the control socket. */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* Sends one line to the agent at path and writes its answer to `to`. Prints errors to stderr, also an answer
 * {"error":...}. Returns the exit code: 1 after an error. */
int control_ask(const char *path, const char *line, FILE *to);

/* Finds the control socket that a configuration file names, and copies its path into out. file NULL: the default file
 * if it can be read, else the default socket. Returns the exit code. */
int control_path(const char *file, char *out, size_t cap);

/* `cmxsafed status`. */
int cmd_status(int argc, char **argv);
