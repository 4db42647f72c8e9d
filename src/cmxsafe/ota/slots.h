/* slots.h - where images live and which one boots: the one door between the update logic and storage. Behind it: raw
 * flash in ESP-IDF's layout (slots_flash.h, the virtual board), esp_ota_* (port/esp), a handler command (the Linux
 * agent).
 *
 * One caller at a time; every function may block. Errors are storage's (CMX_EIO) unless said otherwise. */
#ifndef CMX_OTA_SLOTS_H
#define CMX_OTA_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/image.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_SLOT_NAME_MAX 12
#define CMX_SLOT_WHY_MAX 96

struct cmx_slots_status {
    uint32_t running_offset; /* in flash; 0: not in flash */
    uint32_t target_size;    /* bytes */
    uint32_t secure_version;
    bool pending;                     /* the running image is not confirmed yet */
    bool confirmable;                 /* the platform keeps that state at all */
    bool rolled_back;                 /* the other slot's image was tried and given up */
    char running[CMX_SLOT_NAME_MAX];  /* "ota_0", "factory", "system" */
    char target[CMX_SLOT_NAME_MAX];   /* where the next image goes; "" where there is none */
    char version[CMX_IMAGE_TEXT_MAX]; /* running */
    char project[CMX_IMAGE_TEXT_MAX];
    char rolled_back_version[CMX_IMAGE_TEXT_MAX];
    char rolled_back_why[24];
};

struct cmx_slots {
    void *arg;
    cmx_err (*status)(void *arg, struct cmx_slots_status *out);
    /* An update begins: from now on no restart boots the target slot. CMX_EBUSY: the running image is not confirmed. */
    cmx_err (*begin)(void *arg);
    /* Within the target slot. offset and len of erase: whole sectors of 4096. A written byte was erased before, once.
     */
    cmx_err (*erase)(void *arg, uint32_t offset, uint32_t len);
    cmx_err (*write)(void *arg, uint32_t offset, const void *data, size_t len);
    cmx_err (*read)(void *arg, uint32_t offset, void *out, size_t len);
    /* The target slot holds a verified image: the next boot tries it. why: a sentence for the person, at most why_cap
     * with the NUL, where it fails. */
    cmx_err (*activate)(void *arg, const struct cmx_image *verified, char *why, size_t why_cap);
    cmx_err (*confirm)(void *arg);
    /* The next boot takes the previous image; the caller restarts. CMX_ENOENT: there is none. */
    cmx_err (*rollback)(void *arg, const char *why);
};

#ifdef __cplusplus
}
#endif
#endif
