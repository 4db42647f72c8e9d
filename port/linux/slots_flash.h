/* slots_flash.h - the slots on raw flash (cmx_port_flash_*) in ESP-IDF's layout, and the boot step that ESP-IDF's
 * bootloader would do there. For the virtual board and tests; on an ESP32 the chip's own bootloader and esp_ota_* do
 * this work. Decides nothing: partition.h, otadata.h and image.h do. One caller at a time. */
#ifndef CMX_OTA_SLOTS_FLASH_H
#define CMX_OTA_SLOTS_FLASH_H

#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/slots.h"
#include "otadata.h"
#include "partition.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cmx_slots_flash {
    struct cmx_partitions partitions;
    int running; /* slot, or CMX_OTA_FACTORY */
};

/* What boot found. */
struct cmx_boot_report {
    int running;  /* slot, or CMX_OTA_FACTORY */
    bool aborted; /* the last image restarted before it was confirmed, and was given up */
    bool pending; /* this is the first boot of a new image */
    struct cmx_image_info info;
    uint32_t offset; /* of the image in flash */
    uint32_t size;   /* of its partition */
};

/* Reads the partition table. CMX_EFORMAT: none, or not one that updates work with. */
CMX_MUST_USE cmx_err cmx_slots_flash_open(struct cmx_slots_flash *s);

/* What the bootloader does: settles pending images, chooses, checks the image as a whole (chip id, checksum, SHA-256;
 * not our signature, as ESP-IDF's does not), falls back. chip_id: of this board. scratch: 1 KB at least, to read
 * through. CMX_ENOENT: no partition holds a whole image. */
CMX_MUST_USE cmx_err cmx_slots_flash_boot(struct cmx_slots_flash *s, uint16_t chip_id, void *scratch,
                                          size_t scratch_len, struct cmx_boot_report *out);

/* The door for the update service. s is borrowed and must have booted. */
void cmx_slots_flash_door(struct cmx_slots_flash *s, struct cmx_slots *out);

#ifdef __cplusplus
}
#endif
#endif
