/* nvs_config.h - settings that a device keeps in NVS and that override the built-in ones: gateway, user, host key,
 * credentials, address. Namespace "cmxsafe". NVS is encrypted where the project sets CONFIG_NVS_ENCRYPTION. Otherwise
 * anyone who can read the flash can read private keys in NVS; a key derived from the hardware key is then the better
 * choice (identity.h). Any task; not from an interrupt. This file also stores port.h's secret (cmx_port_secret_*). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

CMX_C_BEGIN

#define CMX_NVS_NAMESPACE "cmxsafe"

/* Opens the storage. Does nothing if the application called nvs_flash_init before. A partition without a free page, or
 * written by a newer version of NVS, is not erased: it may hold the update key, and without that key the device would
 * accept unsigned images. The result is then CMX_OK too, so that the device starts and isolates itself, but cmx_nvs_get
 * and cmx_nvs_set fail with CMX_EIO. CMX_EIO: no usable "nvs" partition. */
CMX_MUST_USE cmx_err cmx_nvs_init(void);

/* Reads a setting. key has at most 15 characters. The keys are "gateway", "port", "user", "host_key", "key",
 * "password", "address", "contexts" (context_list.h) and "update_key" (in the form of OTA_PUBLIC_KEY, settings.h). out:
 * cap bytes with the NUL. CMX_ENOENT: the setting is not set, and out is unchanged. CMX_ENOSPC: the value is longer
 * than cap. */
CMX_MUST_USE cmx_err cmx_nvs_get(const char *key, char *out, size_t cap);

/* Stores value before it returns; NULL erases the key. CMX_ENOSPC: the partition is full. */
CMX_MUST_USE cmx_err cmx_nvs_set(const char *key, const char *value);

/* Increments and stores the number of this device's starts; call it once per start. Returns 0 if the number cannot be
 * stored. */
uint32_t cmx_nvs_count_boot(void);

CMX_C_END
