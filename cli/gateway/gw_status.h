/* gw_status.h - sends requests to the running gateway and prints its answers, which are JSON (gw_control.c). */
#pragma once

#include "cli/gateway/gw_command.h"

/* Sends a request, such as "status", to the running gateway. *answer: JSON without control characters, to be freed with
 * free(). CLI_*; errors are printed. */
int gw_status_ask(const struct gw *g, const char *request, char **answer);
/* Sends a request as gw_status_ask does, and prints the answer: with --json as it is, otherwise by calling print. */
int gw_status_print(const struct gw_common *c, const char *request, void (*print)(const char *answer));

/* Prints who is connected. here: only at this gateway. clear: clears the terminal first. CLI_*; errors are printed. */
int gw_status_show(const struct gw_common *c, bool here, bool clear);

/* Writes a number of bytes, such as "123M". */
void gw_status_bytes(int64_t n, char out[16]);
