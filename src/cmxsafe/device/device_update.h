/* device_update.h - runs the update service of a device with the platform's slots and the key in the settings. The
 * state of proxy and isolation decides whether a new image is confirmed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/device/device_settings.h"
#include "cmxsafe/ota/service.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The settings and functions of the platform. Zero selects the default, except in slots and chip_id, which must be
 * set. */
struct cmx_device_updates {
    struct cmx_slots slots;
    uint16_t chip_id;            /* esp_chip_id_t */
    uint32_t secure_version_min; /* from the eFuse; an image is refused if its secure version is lower than this, or
                                    lower than the running image's */
    bool secure_boot;            /* the bootloader verifies Secure Boot v2 sectors */
    const char *public_key;      /* overrides OTA_PUBLIC_KEY: one key, or two in hex separated by comma or space */
    const char *name;            /* name of the device, for the page */
    const char *const *hosts;    /* more names that a request may have in its Host header */
    size_t n_hosts;
    const char *address; /* NULL means 127.0.0.1 */
    uint16_t port;       /* 0 means CMX_OTA_PORT */
    uint32_t confirm_deadline_ms;
    bool (*isolation_active)(void *arg); /* NULL means cmx_device_isolation_settled */
    bool (*sessions_up)(void *arg);      /* NULL means cmx_device_reached */
    void (*event)(void *arg, cmx_ota_event event, const char *text);
    void *arg; /* passed to the three functions above */
};

/* Call it before setup_ota. *u is copied; what it points to is borrowed for the life of the program. */
void cmx_device_set_updates(const struct cmx_device_updates *u);

/* Starts the service, which continues to run. If the running image is on trial, returns when the trial is over or after
 * cmx_device_update_stop; after a rollback the device restarts instead. Errors are logged. CMX_ENOTSUP: the platform
 * has no slots; CMX_EINVAL: the key cannot be read; errors of cmx_ota_start. */
CMX_MUST_USE cmx_err cmx_device_update_run(const struct cmx_settings *settings);

/* Returns the platform's slots, or NULL before cmx_device_set_updates. */
const struct cmx_slots *cmx_device_slots(void);

/* Stops the service, and waits for running requests. Safe when the service does not run. */
void cmx_device_update_stop(void);

#ifdef __cplusplus
}
#endif
