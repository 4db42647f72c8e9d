/* platform.h - the two functions of the platform that core calls. Each implementation of port.h defines them. */
#pragma once

#include <stdint.h>

#include "cmxsafe/core/c_linkage.h"

CMX_C_BEGIN

/* Returns the milliseconds since an arbitrary start; never decreases; does not block. (esp_timer_get_time,
 * CLOCK_MONOTONIC) */
uint64_t cmx_port_now_ms(void);

typedef enum { CMX_LOG_ERROR, CMX_LOG_WARN, CMX_LOG_INFO, CMX_LOG_DEBUG } cmx_log_level;

/* Writes one formatted line without control characters. Never blocks for long; called from any task. */
void cmx_port_log(cmx_log_level level, const char *tag, const char *line);

CMX_C_END
