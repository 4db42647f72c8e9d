/* gw_units.h - writes the systemd units of a gateway in system mode. Pure. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* The folder that the textfile collector of Debian's prometheus-node-exporter reads. */
#define GW_METRICS_FOLDER "/var/lib/prometheus/node-exporter"

/* Writes a unit. file: the unit's name, such as "cmxsafe-gateway.service". program: the path of cmxsafe. */
CMX_MUST_USE cmx_err gw_unit_text(FILE *f, const struct gw *g, const char *file, const char *program,
                                  struct cmx_why *e);
