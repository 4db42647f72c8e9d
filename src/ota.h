/* ota.h - the original's door to firmware update; cmxsafe/device/update.h is behind it.
 *
 *     xTaskCreatePinnedToCore(setup_ota, "OTA", 6144, NULL, 5, NULL, 1);
 *
 * Serves the update page and POST /update on 127.0.0.1:8989; make it reachable with the context otaPort. Only images
 * signed by OTA_PUBLIC_KEY (settings.h) are accepted; without one each start warns. Errors are logged. */
#ifndef CMX_OTA_H
#define CMX_OTA_H

#include "cmxsafe.h"
#include "cmxsafe/device/update.h"

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
