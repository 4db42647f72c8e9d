/* slots.h - the interface between the update logic and storage: where images are kept and which one boots. Implemented
 * over raw flash in ESP-IDF's layout (slots_flash.h, the virtual board), over esp_ota_* (ota_esp.h), and over a file
 * and hooks (the Linux agent).
 *
 * Only one task may call these functions at a time. Exception: on an ESP32 and on the virtual board `status` only
 * reads, and any task may call it, for instance to describe the running image in evidence. Every function may block;
 * activate, confirm and rollback may block for minutes, so hold no lock while calling them. Errors are CMX_EIO unless
 * stated otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/ota/image.h"

#define CMX_SLOT_NAME_MAX 12
#define CMX_SLOT_WHY_MAX 24 /* reason of a rollback, NUL included; see cmx_slots.rollback */

struct cmx_slots_status {
    uint32_t running_offset; /* offset in flash; 0: the slots are not in flash */
    uint32_t target_size;    /* bytes */
    uint32_t secure_version;
    uint32_t trial_ms;                /* if pending: how long the image had been on trial when the slots were opened */
    bool pending;                     /* the running image is not confirmed yet */
    bool confirmable;                 /* the platform records whether an image is confirmed */
    bool activated;                   /* an update was activated and the device has not restarted since */
    bool rolled_back;                 /* the image of the last update was tried and rolled back */
    const char *problem;              /* a sentence that says why the last update did not take effect, borrowed from
                                       * arg; or NULL */
    char running[CMX_SLOT_NAME_MAX];  /* the slot of the running image, such as "ota_0", "factory", "system" */
    char target[CMX_SLOT_NAME_MAX];   /* the slot of the next image; "" if there is none */
    char version[CMX_IMAGE_TEXT_MAX]; /* version of the running image */
    char project[CMX_IMAGE_TEXT_MAX];
    char rolled_back_version[CMX_IMAGE_TEXT_MAX];
    char rolled_back_why[CMX_SLOT_WHY_MAX];
};

struct cmx_slots {
    void *arg;
    cmx_err (*status)(void *arg, struct cmx_slots_status *out);
    /* Begins an update: from now on no restart boots the target slot. CMX_EBUSY: the running image is not confirmed. */
    cmx_err (*begin)(void *arg);
    /* erase, write and read work within the target slot. erase takes whole sectors of 4096 bytes. The caller
     * erases each byte once, before it writes the byte. */
    cmx_err (*erase)(void *arg, uint32_t offset, uint32_t len);
    cmx_err (*write)(void *arg, uint32_t offset, const void *data, size_t len);
    cmx_err (*read)(void *arg, uint32_t offset, void *out, size_t len);
    /* Activates the target slot, which holds a verified image: the next start boots it, on trial. If activate, confirm
     * or rollback fails, *why contains the reason, or is empty if the error code is precise enough. CMX_EPERM: a hook
     * refused; CMX_ETIMEOUT: a hook did not end in time; CMX_ECLOSED: a hook was killed. */
    cmx_err (*activate)(void *arg, const struct cmx_image *verified, struct cmx_why *why);
    /* Makes the running image permanent. */
    cmx_err (*confirm)(void *arg, struct cmx_why *why);
    /* Selects the previous image for the next start; the caller restarts. reason: a few words, stored so that the
     * previous image can report them. CMX_ENOENT: there is no previous image. */
    cmx_err (*rollback)(void *arg, const char *reason, struct cmx_why *why);
};
