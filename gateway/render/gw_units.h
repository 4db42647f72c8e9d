/* gw_units.h - the text of a system gateway's systemd units. Pure. */
#ifndef GW_UNITS_H
#define GW_UNITS_H

#include "gateway/folder/gw_folder.h"

#define GW_METRICS_FOLDER "/var/lib/prometheus/node-exporter" /* of the textfile collector, as Debian packages it */

/* which: "net", "guard", "socket", "service", "metrics", "metrics-timer". program: the path of cmxsafe. */
void gw_unit_text(FILE *f, const struct gw *g, const char *which, const char *program);

#endif
