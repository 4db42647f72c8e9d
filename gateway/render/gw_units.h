/* gw_units.h - writes the configuration of the gateway's own sshd, which permits TCP forwards and nothing else, and the
 * systemd units of a gateway in system mode. Pure. */
#pragma once

#include "gateway/folder/gw_folder.h"

/* The folder that the textfile collector of Debian's prometheus-node-exporter reads. */
#define GW_METRICS_FOLDER "/var/lib/prometheus/node-exporter"

struct gw_unit {
    const char *file; /* the unit's name, such as "cmxsafe-gateway.service" */
    const char *text; /* its template */
    bool fleet;       /* true: the unit is not installed in a small deployment */
};
#define GW_UNITS 7
extern const struct gw_unit gw_units[GW_UNITS];

/* Writes a unit. program: the path of cmxsafe. */
CMX_MUST_USE cmx_err gw_unit_text(FILE *f, const struct gw *g, const struct gw_unit *unit, const char *program,
                                  struct cmx_why *e);
/* Writes the configuration of sshd. helper: the path of cmxsafe-authkeys as sshd sees it. */
CMX_MUST_USE cmx_err gw_units_sshd_config(FILE *f, const struct gw *g, const char *helper, struct cmx_why *e);
