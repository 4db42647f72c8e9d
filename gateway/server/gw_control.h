/* gw_control.h - sends requests to the running gateway through its control socket. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* Sends one line. *answer receives the answer, to be freed with free(), or NULL after an error. answer may be NULL.
 * CMX_ECLOSED: no gateway is running. */
CMX_MUST_USE cmx_err gw_control(const struct gw *g, const char *request, char **answer, struct cmx_why *e);

/* The member `judge` of the answer to `status` while the gateway has just started and the guard has not reported yet.
 */
#define GW_CONTROL_JUDGE_PENDING "the fleet's rules are not checked yet; the gateway has just started"

/* True if a gateway serves this folder: it accepts on its control socket, or (--user mode, or started by hand) holds
 * the folder's lock. */
bool gw_control_is_serving(const struct gw *g);
