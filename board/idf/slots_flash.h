/* slots_flash.h - the slots on raw flash (cmx_port_flash_*) in ESP-IDF's layout, and the boot step of ESP-IDF's
 * bootloader. For the virtual board and tests; an ESP32 uses its own bootloader and esp_ota_*. The decisions are in
 * partition_table.h, otadata.h and image.h. One caller at a time. */
#pragma once

#include "board/idf/otadata.h"
#include "board/idf/partition_table.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/ota/slots.h"

struct cmx_slots_flash {
    struct cmx_partitions partitions;
    int running; /* number of the running slot, or CMX_OTA_FACTORY */
};

/* The result of the boot step. */
struct cmx_boot_report {
    bool aborted; /* a new image restarted before it was confirmed, and is no longer used */
    bool pending; /* this is the first boot of a new image */
    struct cmx_image_info info;
    uint32_t offset; /* offset of the image in flash */
};

/* Reads the partition table. CMX_EFORMAT: there is none, or it does not permit updates. */
CMX_MUST_USE cmx_err cmx_slots_flash_open(struct cmx_slots_flash *s);

/* Boots as ESP-IDF's bootloader does: gives up an image that restarted before it was confirmed, chooses an image,
 * checks all of it (chip id, checksum, SHA-256, but not our signature), and tries another image if the check fails.
 * chip_id: the id of this board's chip. CMX_ENOENT: no partition holds a valid image. */
CMX_MUST_USE cmx_err cmx_slots_flash_boot(struct cmx_slots_flash *s, uint16_t chip_id, struct cmx_boot_report *out);

/* Fills out with the slots for the update service. s is borrowed; the boot step must have succeeded. */
void cmx_slots_flash_interface(struct cmx_slots_flash *s, struct cmx_slots *out);
