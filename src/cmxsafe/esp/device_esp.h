/* device_esp.h - starts cmxsafe in an ESP-IDF or Arduino application: storage, settings from NVS and Kconfig, events.
 * Contexts and services are then the same as on every platform (cmxsafe.h, sm.h, ota.h, remoteAttest.h).
 *
 * An application need not call any function of this file: the first context, setup_sm, setup_ota or
 * setup_remoteAttest starts the device with cmx_esp_init(NULL). An application with settings of its own calls
 * cmx_esp_init itself, before all of these:
 *
 *     ESP_ERROR_CHECK(cmx_esp_init(&settings));
 *     ... bring the network up ...
 *     ESP_ERROR_CHECK(cmx_esp_forward(&webPort));
 *
 * Precedence of settings: NVS (nvs_config.h), then `own`, then Kconfig, then the sketch's settings.h. */
#pragma once

#ifdef ESP_PLATFORM

#include "cmxsafe/device/device_settings.h"
#include "esp_err.h"

CMX_C_BEGIN

/* Initialises NVS, esp_netif and the default event loop where the application did not, and reads the settings. own: the
 * application's settings, which must stay valid, or NULL. A member that is NULL or 0 is not set. Once the device has
 * started, further calls change nothing. Any task. ESP_ERR_INVALID_STATE: the device has already started, so `own` is
 * not used. Other errors: ESP_ERR_NO_MEM and those of NVS; the next call then tries again. */
esp_err_t cmx_esp_init(const struct cmx_settings *own);

/* Calls cmx_device_forward (device.h) with the settings from NVS, Kconfig and `own` of cmx_esp_init.
 * ESP_ERR_INVALID_ARG: a setting is invalid; the log names it. */
esp_err_t cmx_esp_forward(const TaskParameters *context);

/* Waits until an interface has an address; timeout_ms 0: without a limit. ESP_ERR_TIMEOUT: none has one by then. */
esp_err_t cmx_esp_wait_network(uint32_t timeout_ms);

/* Logs the heap (bytes free now, fewest bytes free so far, cmxsafe's share) and the stacks of cmxsafe's tasks. */
void cmx_esp_log_memory(void);

CMX_C_END
#endif
