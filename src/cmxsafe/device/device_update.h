/* device_update.h - runs the update service of a device with the platform's slots and the key in the settings. The
 * state of proxy and isolation decides whether a new image is confirmed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/device_settings.h"
#include "cmxsafe/ota/service.h"

CMX_C_BEGIN

/* Call this before setup_ota. The platform sets slots, policy.chip_id and every member whose default does not fit. A
 * platform with eFuses also sets policy.secure_version_min and policy.secure_boot. The device sets policy.keys and
 * `restart`. port 0 means CMX_OTA_PORT here. *config is copied; what it points to is borrowed for the life of the
 * program. public_key replaces OTA_PUBLIC_KEY unless it is NULL or "". It is one key in PEM form, or one or two keys in
 * hex that are separated by a comma or a space. */
void cmx_device_set_updates(const struct cmx_ota_config *config, const char *public_key);

/* Starts the service, which continues to run. If the running image is on trial, returns when the trial is over or after
 * cmx_device_update_stop; after a rollback the device restarts instead. Errors are logged. CMX_ENOTSUP: the
 * platform has no slots. CMX_EINVAL: the key cannot be read. Other errors are those of cmx_port_device_start and
 * cmx_ota_start. If the key cannot be read or cmx_ota_start fails, an image on trial is rolled back. */
CMX_MUST_USE cmx_err cmx_device_update_run(const struct cmx_settings *settings);

/* Returns the platform's slots, or NULL before cmx_device_set_updates. */
const struct cmx_slots *cmx_device_slots(void);

/* Stops the service, and waits for running requests. Safe when the service is not running. */
void cmx_device_update_stop(void);

CMX_C_END
