/* ota.h - firmware update, under the name of the original CMXsafe-ESP32; cmxsafe/device/device_update.h implements it.
 *
 *     xTaskCreatePinnedToCore(setup_ota, "OTA", 6144, NULL, 5, NULL, 1);
 *
 * Serves the update page and POST /update on 127.0.0.1:8989; make it reachable with the context otaPort. Only images
 * signed by OTA_PUBLIC_KEY (settings.h) are accepted; without a key each start logs a warning. Errors are logged.
 *
 * On Arduino include it only in the file that starts setup_ota: see verifyRollbackLater. */
#pragma once

#include <stdbool.h>

#include "cmxsafe.h"
#include "cmxsafe/device/device_update.h"

#ifdef ARDUINO
#ifdef __cplusplus
extern "C" {
#endif

/* Arduino's core calls this before setup(). The core's own version returns false: then the core confirms each new image
 * at once, and an image that never reaches its gateway is not rolled back. Weak, for a sketch of several source
 * files. */
bool verifyRollbackLater(void);
__attribute__((weak)) bool verifyRollbackLater(void)
{
    return true;
}

#ifdef __cplusplus
}
#endif
#endif

/* Task function: starts the service, confirms or rolls back a new image, then ends its task; the service continues to
 * run. */
static inline void setup_ota(void *parameter)
{
    struct cmx_settings settings;
    cmx_err err;

    (void)parameter;
    cmx_settings_capture(&settings);
    err = cmx_device_update_run(&settings);
    (void)err; /* logged; a task has no caller to return it to */
    vTaskDelete(NULL);
}
