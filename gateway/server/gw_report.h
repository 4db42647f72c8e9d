/* gw_report.h - answers requests that operators on other gateways send over the links (gw_peer.h):
 *
 *   status      for 'gateway status': the same answer as on the control socket
 *   traffic     for 'gateway status --traffic': the same answer as on the control socket
 *   follow MS   for 'gateway access': the lines of the access log since MS (Unix time in ms), then new lines as they
 *               are written. After each read of the log, that is several times per GW_REPORT_SILENCE_MS, an empty line
 *               shows that the gateway is alive.
 *
 * A separate process sends each answer, so that a gateway that reads slowly does not delay the server. */
#pragma once

#include "gateway/server/gw_server.h"

#define GW_REPORT_STATUS "status"
#define GW_REPORT_TRAFFIC "traffic"
#define GW_REPORT_FOLLOW "follow "
#define GW_REPORT_SILENCE_MS 3000

/* Starts a process that sends the answer to c. follows: the process runs until the other gateway disconnects. Returns
 * true in the new process and false in the server. The new process then calls gw_report_text or gw_report_follow. */
bool gw_report_start(struct gw_server *s, const struct gw_client *c, bool follows);
_Noreturn void gw_report_text(const struct gw_client *c, const char *text, size_t len);
_Noreturn void gw_report_follow(const struct gw_server *s, const struct gw_client *c);
/* Call this when a child process has ended. Frees its slot if gw_report_start started it. */
void gw_report_ended(struct gw_server *s, pid_t pid);
