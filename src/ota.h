/* ota.h - firmware update with the file and function names of the original CMXsafe-ESP32.
 * cmxsafe/device/device_update.h implements it.
 *
 *     xTaskCreatePinnedToCore(setup_ota, "OTA", 6144, NULL, 5, NULL, 1);
 *
 * Serves the update page and POST /update on 127.0.0.1:8989; make it reachable with the context otaPort. Only images
 * that verify with OTA_PUBLIC_KEY (settings.h) are accepted. If no key is set, unsigned images are accepted, and each
 * start logs a warning. Errors are logged.
 *
 * On Arduino, include this header only in the source file that starts setup_ota: with this header, only setup_ota
 * confirms a new image (see verifyRollbackLater). */
#pragma once

#include <stdbool.h>

#include "cmxsafe.h"
#include "cmxsafe/device/device_update.h"

#ifdef ARDUINO
CMX_C_BEGIN

/* Arduino's core calls this before setup(). If it returned false, as the core's own version does, the core would
 * confirm each new image at once, and an image that never reaches its gateway would not be rolled back. The symbol is
 * weak, so that a sketch of several source files can be linked. */
bool verifyRollbackLater(void);
__attribute__((weak)) bool verifyRollbackLater(void)
{
    return true;
}

CMX_C_END
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
    (void)err; /* cmx_device_update_run has logged the error, and a task cannot return one */
    vTaskDelete(NULL);
}
