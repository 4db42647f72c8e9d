/* device_esp.h - an ESP-IDF application's start: storage, settings from NVS and Kconfig, notifications, and what only
 * this platform knows. The contexts and services are then the same as everywhere (cmxsafe.h, sm.h, ota.h,
 * remoteAttest.h).
 *
 *     ESP_ERROR_CHECK(cmx_esp_init(NULL));
 *     ... bring the network up ...
 *     ESP_ERROR_CHECK(cmx_esp_forward(&webPort));
 *
 * Settings: NVS (nvs_config.h) goes before `own`, `own` before Kconfig, Kconfig before the sketch's settings.h. */
#ifndef CMX_PORT_ESP_DEVICE_ESP_H
#define CMX_PORT_ESP_DEVICE_ESP_H

#ifdef ESP_PLATFORM

#include "cmxsafe/device/settings.h"
#include "esp_err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Call first, once, from app_main or setup(). own: settings of the application, or NULL; what is NULL or 0 in it is not
 * set. Borrowed for good. Creates the default event loop and initialises esp_netif and NVS where that was not done yet.
 * Errors: those of NVS; ESP_ERR_NO_MEM. */
esp_err_t cmx_esp_init(const struct cmx_settings *own);

/* cmx_device_forward (device.h) with these settings. ESP_ERR_INVALID_ARG: see the log. */
esp_err_t cmx_esp_forward(const TaskParameters *context);

/* Waits until an interface has an address; 0: for ever. ESP_ERR_TIMEOUT. */
esp_err_t cmx_esp_wait_network(uint32_t timeout_ms);

/* Logs heap (free, lowest, ours) and the stacks of our tasks. */
void cmx_esp_log_memory(void);

#ifdef __cplusplus
}
#endif
#endif
#endif
