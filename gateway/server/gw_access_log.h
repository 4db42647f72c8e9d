/* gw_access_log.h - the access log: source, target, start, end and bytes of each connection, and refused connections.
 * The server writes the log from the kernel's events (gw_idsock), one JSON object per line, to DIR/run/access/log. Full
 * files are kept under the names log.1 (the newest) to log.4. The log contains only addresses; 'cmxsafe gateway access'
 * shows the names that belong to them. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_ACCESS_FILE_MAX (8l << 20)

struct gw_access_log;
struct gw_idsock;

/* Opens the log. If an earlier server process was killed before it logged the end of a connection, logs the connection
 * as "cut": its bytes and the time of its end are not known. own: the identity of the gateway's own connections, which
 * are not logged. NULL: out of memory, or the folder or the file can't be created. */
struct gw_access_log *gw_access_open(const struct gw *g, const char *own);
/* Call this after all sessions have ended. Logs connections as "cut" if their end is not known or was not logged. l may
 * be NULL. */
void gw_access_close(struct gw_access_log *l);

/* Reads the kernel's events since the last call, and logs them. */
void gw_access_take(struct gw_access_log *l, struct gw_idsock *idsock);
/* Logs connections that the packet filter refused. text: the guard's report, "SOURCE TARGET PORT COUNT". */
void gw_access_denied(struct gw_access_log *l, const char *text);
