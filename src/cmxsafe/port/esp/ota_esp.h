/* ota_esp.h - struct cmx_slots (ota/slots.h) over ESP-IDF's own slots: esp_ota_*, app description, rollback. What the
 * bootloader decides stays the bootloader's: Secure Boot signatures, anti-rollback, flash encryption. ESP-IDF only. */
#ifndef CMX_PORT_ESP_OTA_ESP_H
#define CMX_PORT_ESP_OTA_ESP_H

#include "cmxsafe/ota/slots.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Needs a partition table with two OTA slots and, for confirmation and rollback, CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE.
 */
struct cmx_slots cmx_esp_slots(void);

#ifdef __cplusplus
}
#endif
#endif
