/* ota_history.h - the last uploads, in a small file that survives restarts: one line for each upload, the oldest first,
 * "UNIX-TIME BYTES ok|refused CLIENT|- TEXT". It is only shown to people: a line that cannot be parsed is skipped. */
#pragma once

#include "cmxsafe/ota/service.h"

#define OTA_HISTORY_NAME_MAX 256

/* No lock: the caller calls one function at a time. */
struct ota_history {
    int folder; /* descriptor of the folder; borrowed */
    char name[OTA_HISTORY_NAME_MAX];
    struct cmx_ota_past past[CMX_OTA_PAST]; /* the oldest first */
    size_t n;
};

/* Reads the file folder/name, if it exists. Times in the future count as now. */
void ota_history_read(struct ota_history *h, int folder, const char *name);
/* Adds an upload that ended now, and replaces the file. CMX_EIO: the file could not be replaced. */
CMX_MUST_USE cmx_err ota_history_add(struct ota_history *h, const struct cmx_ota_past *p);
