/* gw_metrics_text.h - the gateway's metrics in Prometheus' text form (version 0.0.4). docs/GATEWAY.md lists them.
 *
 * The number of time series is limited: at most GW_METRICS_DEVICES_MAX devices have metrics. A device has one value of
 * each metric (two for bytes: in and out), with its name as label; group and firmware are labels of cmxsafe_device_info
 * only. */
#pragma once

#include "cli/gateway/gw_command.h"

#define GW_METRICS_DEVICES_MAX 20000

/* Writes all metrics of the gateway in the folder that dir names (gw_folder_find), with g as working memory. If the
 * gateway is not running or the registry cannot be read, metrics show this. False: the registry cannot be
 * read; e says why. */
bool gw_metrics_put(FILE *f, struct gw *g, const char *dir, struct cmx_why *e);
