/* stderr_line.h - the log of a program that must not stop: stderr, without waiting for its reader. */
#pragma once

/* Writes `prefix` and `line`, which have at most 600 bytes together, as one line. The line is lost if the reader of
 * stderr (journald, a pipe, a stopped terminal) does not read; the next line that can be written is preceded by a line
 * with the number of lost ones. Any thread. */
void cmx_stderr_line(const char *prefix, const char *line);
