/* context_list.h - reverse contexts as one line of text, such as a device keeps in NVS: "81+high_bw 8080:80". Each word
 * is the service's port, and optionally ":" and the listener's port at the gateway (default: the service's port) and
 * "+high_bw". Pure: no I/O, clock or allocation. */
#pragma once

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/device_settings.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Reads the next word, and moves *text behind it. CMX_ENOENT: there is none. CMX_EFORMAT: it is not a context; *text
 * and *out are then unchanged. */
CMX_MUST_USE cmx_err cmx_context_list_next(const char **text, TaskParameters *out);

#ifdef __cplusplus
}
#endif
