/* context_list.h - reverse contexts as one line of text, the form in which a device keeps them in NVS:
 * "81+high_bw 8080:80". Each word is the service's port, optionally followed by ":" and the listener's port on the
 * gateway (default: the service's port), and optionally by "+high_bw". Pure: no I/O, clock or allocation. */
#pragma once

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/device_settings.h"

/* Reads the next word, and moves *text past it. CMX_ENOENT: there is no further word. CMX_EFORMAT: the word is not a
 * context; *text and *out are then unchanged. */
CMX_MUST_USE cmx_err cmx_context_list_next(const char **text, TaskParameters *out);
