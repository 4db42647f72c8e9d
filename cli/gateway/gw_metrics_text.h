/* gw_metrics_text.h - the gateway's metrics in Prometheus' text form (version 0.0.4). docs/GATEWAY.md lists them.
 *
 * Labels are bounded: a device has one value of each metric (two for bytes: in and out), with its name as label, for at
 * most GW_METRICS_DEVICES_MAX devices; group and firmware are labels of cmxsafe_device_info alone. */
#pragma once

#include "cli/gateway/gw_command.h"

#define GW_METRICS_DEVICES_MAX 20000

/* Writes all metrics of the gateway in the folder that g names (gw_folder_find). A gateway that does not run and a
 * registry that cannot be read are metrics too. False: the registry cannot be read; e says why. */
bool gw_metrics_put(FILE *f, struct gw *g, struct cmx_why *e);
