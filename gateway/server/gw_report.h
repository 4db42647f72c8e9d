/* gw_report.h - answers the operators' questions that come from other gateways over their links (gw_peer.h):
 *
 *   status      for 'gateway status': as on the control socket
 *   access MS   for 'gateway access': the lines of the access log since that time (Unix, ms), and GW_REPORT_END
 *
 * Each answer has a process of its own, so that a node that reads slowly does not delay the server. */
#ifndef GW_REPORT_H
#define GW_REPORT_H

#include "gateway/server/gw_server.h"

#define GW_REPORT_STATUS "status"
#define GW_REPORT_ACCESS "access "
#define GW_REPORT_END "{\"event\":\"end\"}\n"

/* Starts the process for c's answer. True: this is the process, which calls one of the next two. */
bool gw_report_start(struct gw_server *s, const struct gw_client *c);
_Noreturn void gw_report_status(const struct gw_client *c, const char *text, size_t len);
_Noreturn void gw_report_access(const struct gw_server *s, const struct gw_client *c);
/* Call when a child process has ended; it may be one of these. */
void gw_report_ended(struct gw_server *s, pid_t pid);

#endif
