/* gw_access_log.h - the access log: source, target, start, end and bytes of each connection, and refused connections.
 * The server writes the log from the kernel's events (gw_idsock), one JSON object per line, to DIR/run/access/log. Full
 * files are kept under the names log.1 (the newest) to log.4. The log contains only addresses; 'cmxsafe gateway access'
 * shows the names that belong to them. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_ACCESS_FILES 5
#define GW_ACCESS_FILE_MAX (8l << 20)

struct gw_access_log;
struct gw_idsock;

/* Opens the log. own: the identity of the gateway's own connections, which are not logged. NULL: out of memory, or the
 * folder or the file can't be created. */
struct gw_access_log *gw_access_open(const struct gw *g, const char *own);
void gw_access_close(struct gw_access_log *l); /* NULL is fine */

/* Reads the kernel's events since the last call, and logs them. */
void gw_access_take(struct gw_access_log *l, struct gw_idsock *idsock);
/* Logs connections that the packet filter refused. text: the guard's report, "SOURCE TARGET PORT COUNT". */
void gw_access_denied(struct gw_access_log *l, const char *text);

/* Returns the path of file n of the log: DIR/run/access/log, log.1 and so on; n 0 is the newest file. */
const char *gw_access_path(const struct gw *g, unsigned n, char out[GW_PATH_MAX]);
