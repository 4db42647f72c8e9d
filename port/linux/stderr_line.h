/* stderr_line.h - writes log lines to stderr without waiting for its reader, for a program that must not stop. */
#pragma once

/* Writes `prefix` and `line`, which have at most 600 bytes together, as one line. The line is lost if nothing
 * reads stderr (journald hangs, a terminal is stopped); a line with the number of lost lines precedes the next line
 * that can be written. Any thread. */
void cmx_stderr_line(const char *prefix, const char *line);
