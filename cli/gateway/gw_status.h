/* gw_status.h - parses the running gateway's answer to `status`: flat JSON objects with known keys, written by
 * gw_control.c. */
#pragma once

#include "cli/gateway/gw_command.h"

/* Sends a request, such as "status", to the running gateway. *answer: to be freed with free(). CLI_*; errors are
 * printed. */
int gw_status_ask(const struct gw *g, const char *request, char **answer);
/* Sends a request as gw_status_ask does, and prints the answer: with --json as it is, otherwise by calling print, which
 * may cut it into pieces. */
int gw_status_print(const struct gw_common *c, const char *request, void (*print)(char *answer));

/* Prints who is connected. here: only at this gateway. clear: clears the terminal first. CLI_*; errors are printed. */
int gw_status_show(const struct gw_common *c, bool here, bool clear);

/* Writes a number of bytes, such as "123M". */
void gw_status_bytes(int64_t n, char out[16]);

/* Returns where the list of sessions begins. */
char *gw_status_sessions(char *answer);
/* Returns where the list that begins with these characters, such as "\"minutes\":[", begins; the end if there is
 * none. */
char *gw_status_array(char *answer, const char *begin);
/* Cuts the next object out of the list, cleaned by cmx_text_clean; NULL: no more. */
char *gw_status_next(char **rest);
/* Read a member of an object; a text is cleaned by cmx_text_clean; "" and 0 when it is not there. */
bool gw_status_text(const char *object, const char *key, char *out, size_t cap);
int64_t gw_status_number(const char *object, const char *key);
