/* ota_esp.h - implements struct cmx_slots (ota/slots.h) with ESP-IDF's own slots: esp_ota_*, app description, rollback.
 * The bootloader enforces Secure Boot signatures, anti-rollback and flash encryption. ESP-IDF only. */
#pragma once

#include "cmxsafe/ota/slots.h"

/* Requires a partition table with two OTA slots and, for confirmation and rollback,
 * CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE.
 */
struct cmx_slots cmx_esp_slots(void);
