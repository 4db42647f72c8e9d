/* units.h - the systemd units of a system gateway. */
#ifndef CLI_GW_UNITS_H
#define CLI_GW_UNITS_H

#include "cli/gateway/gw.h"

/* Writes them to /etc/systemd/system (or $CMXSAFE_UNIT_DIR) when systemd is there; none in --user mode. */
CMX_MUST_USE cmx_err gw_units_write(struct gw *g, struct gw_error *e);

/* For the golden tests: one unit's text. which: "net", "socket", "service". */
void gw_unit_text(FILE *f, const struct gw *g, const char *which, const char *program);

#endif
