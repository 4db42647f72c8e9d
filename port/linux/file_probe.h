/* file_probe.h - finds out whether a file's file system answers. A call on a file of a network mount whose server is
 * gone may block for ever, and no signal but SIGKILL ends it. */
#pragma once

#include <stdbool.h>

/* The time limit that the agent uses for each file at its start. */
#define FILE_ANSWER_MS 3000

/* True if a child process could open the file and read from it, or got an error, within ms milliseconds. False: the
 * file's file system does not answer; the caller must not use the path. The last path that did not answer is not tried
 * again. Call this while the process has one thread. If it may not fork, the result is true. */
bool cmx_file_answers(const char *path, int ms);
