/* nvs_config.h - settings that a device keeps in its non-volatile storage, over those it was built with: gateway, user,
 * host key, credentials, a device's own address. Namespace "cmxsafe". Encrypted where the project turns NVS encryption
 * on (CONFIG_NVS_ENCRYPTION); without it a private key in NVS can be read by whoever reads the flash: use the key
 * derived from the hardware instead (identity). ESP-IDF only. Any task; not from an interrupt. */
#ifndef CMX_PORT_ESP_NVS_CONFIG_H
#define CMX_PORT_ESP_NVS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_NVS_NAMESPACE "cmxsafe"

/* Opens the storage; erases and formats a partition that is full of an older layout, and says so. Call once, early;
 * harmless when the application did the same. CMX_EIO: no usable "nvs" partition. */
CMX_MUST_USE cmx_err cmx_nvs_init(void);

/* True when values are stored encrypted. */
bool cmx_nvs_is_encrypted(void);

/* key: at most 15 chars ("gateway", "port", "user", "host_key", "key", "password", "address"). out: cap bytes with the
 * NUL. CMX_ENOENT: not set; out is then untouched. CMX_ENOSPC: longer than cap. */
CMX_MUST_USE cmx_err cmx_nvs_get(const char *key, char *out, size_t cap);

/* Stores at once. NULL erases the key. CMX_ENOSPC: the partition is full. */
CMX_MUST_USE cmx_err cmx_nvs_set(const char *key, const char *value);

/* A counter of this device's starts, stored at each call: call once a start. 0: no storage. */
uint32_t cmx_nvs_count_boot(void);

#ifdef __cplusplus
}
#endif
#endif
