/* gw_status.h - sends requests to the running gateway and prints its answers, which are JSON (gw_control.c). */
#pragma once

#include "cli/gateway/gw_command.h"
#include "cli/gateway/gw_fleet_ask.h"

/* Sends a request, such as "status", to the running gateway. *answer: JSON without control characters, to be freed with
 * free(). Returns CLI_*, and prints errors. */
int gw_status_ask(const struct gw *g, const char *request, char **answer);
/* The requests that a command sends to the running gateway and to the other gateways of the fleet, and the function
 * that prints the answers. */
struct gw_status_view {
    const char *request;    /* the request to the running gateway */
    const char *question;   /* the request to the other gateways (gw_report.h); NULL: none is sent */
    gw_fleet_reader reader; /* reads the other gateways' answers */
    const char *what;       /* what these answers list, such as "sessions"; for warnings */
    /* Prints the answers. others is empty if no other gateway was asked. Not called if others is empty and json is
     * set. Returns CLI_*, and prints errors. */
    int (*print)(struct gw *g, const char *answer, const struct gw_fleet_answers *others, bool json);
};

extern const struct gw_status_view gw_status_sessions; /* shows the connected sessions */

/* Sends the requests and prints the answers. Asks the other gateways only if here is false and the user is root. If
 * none was asked, --json prints this gateway's answer unchanged. Returns CLI_*, and prints errors. */
int gw_status_show(const struct gw_common *c, bool here, const struct gw_status_view *view);

/* Writes a number of bytes, such as "123M". */
#define GW_BYTES_TEXT_MAX 16
void gw_status_bytes(int64_t n, char out[GW_BYTES_TEXT_MAX]);
