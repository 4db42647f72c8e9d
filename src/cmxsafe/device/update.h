/* update.h (device) - wires the update service: slots from the platform, the key from the settings, and the
 * confirmation of a new image by what proxy and isolation say. */
#ifndef CMX_DEVICE_UPDATE_H
#define CMX_DEVICE_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/settings.h"
#include "cmxsafe/ota/service.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the platform knows. Zero in any field but slots and chip_id is a default. */
struct cmx_device_updates {
    struct cmx_slots slots;
    uint16_t chip_id;            /* esp_chip_id_t */
    uint32_t secure_version_min; /* the eFuse's; the running image's counts too */
    bool secure_boot;            /* the bootloader verifies Secure Boot v2 sectors */
    const char *public_key;      /* wins over OTA_PUBLIC_KEY: one key, or two with a comma or space between (hex) */
    const char *name;            /* the device's, for the page */
    const char *const *hosts;    /* further names in Host */
    size_t n_hosts;
    const char *address; /* NULL: 127.0.0.1 */
    uint16_t port;       /* 0: CMX_OTA_PORT */
    uint32_t confirm_deadline_ms;
    bool (*isolation_active)(void *arg); /* NULL: the device has no isolation to wait for */
    bool (*sessions_up)(void *arg);      /* NULL: all contexts, cmx_device_all_up */
    void (*event)(void *arg, cmx_ota_event event, const char *text);
    void *arg; /* of these three */
};

/* Before setup_ota. Copied; what it points to is borrowed for good. */
void cmx_device_set_updates(const struct cmx_device_updates *u);

/* Starts the service and watches over a new image until it is confirmed or rolled back; then returns, and the service
 * stays. Errors are logged. CMX_ENOTSUP: the platform gave no slots; CMX_EINVAL: the key is none; errors of
 * cmx_ota_start. */
CMX_MUST_USE cmx_err cmx_device_update_run(const struct cmx_settings *settings);

/* The platform's slots, or NULL before they were given. */
const struct cmx_slots *cmx_device_slots(void);

/* Waits for requests under way. Safe when it does not run. */
void cmx_device_update_stop(void);

#ifdef __cplusplus
}
#endif
#endif
