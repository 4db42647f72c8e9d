/* ota.h - the original's door to firmware update; cmxsafe/device/update.h is behind it.
 *
 *     xTaskCreatePinnedToCore(setup_ota, "OTA", 6144, NULL, 5, NULL, 1);
 *
 * Serves the update page and POST /update on 127.0.0.1:8989; make it reachable with the context otaPort. Only images
 * signed by OTA_PUBLIC_KEY (settings.h) are accepted; without one each start warns. Errors are logged.
 *
 * On Arduino include it only where setup_ota is started: see verifyRollbackLater. */
#ifndef CMX_OTA_H
#define CMX_OTA_H

#include <stdbool.h>

#include "cmxsafe.h"
#include "cmxsafe/device/update.h"

#ifdef ARDUINO
#ifdef __cplusplus
extern "C" {
#endif

/* Arduino's core asks this before setup(): with its own answer, false, it confirms each new image there and then, and
 * one that never reaches its gateway stays. Weak, for a sketch of more than one source file. */
bool verifyRollbackLater(void);
__attribute__((weak)) bool verifyRollbackLater(void)
{
    return true;
}

#ifdef __cplusplus
}
#endif
#endif

/* A task's function: starts the service, confirms or rolls back a new image, then ends its task; the service stays. */
static inline void setup_ota(void *parameter)
{
    struct cmx_settings settings;
    cmx_err err;

    (void)parameter;
    cmx_settings_capture(&settings);
    err = cmx_device_update_run(&settings);
    (void)err; /* it said what is wrong, and a task has nobody to tell */
    vTaskDelete(NULL);
}

#endif
