/* boot.c - the board's bootloader: chooses the slot whose application runs. */
#include "board/board.h"
#include "board/idf/slots_flash.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/device/device_update.h"
#include "cmxsafe/port/port.h"

#define TAG "boot"

static struct cmx_slots_flash slots; /* static, because the update service borrows it for the life of the program */

static void hand_to_updates(const struct board_config *config, uint16_t chip_id)
{
    struct cmx_ota_config updates = {
        .policy.chip_id = chip_id,
        .name = config->settings.username,
        .hosts = &config->ota_host,
        .n_hosts = config->ota_host != NULL,
        .confirm_deadline_ms = (uint32_t)config->ota_confirm_s * 1000,
    };

    cmx_slots_flash_interface(&slots, &updates.slots);
    cmx_device_set_updates(&updates, config->settings.ota_public_key);
}

cmx_err board_boot(const struct board_config *config)
{
    struct cmx_boot_report report;
    uint16_t chip_id;
    cmx_err err = cmx_image_chip_id(config->chip, &chip_id);

    if (err != CMX_OK) {
        cmx_log(CMX_LOG_ERROR, TAG, "chip '%s' is not known", config->chip);
        return err;
    }
    err = cmx_slots_flash_open(&slots);
    if (err != CMX_OK) {
        cmx_log(CMX_LOG_ERROR, TAG, "no partition table with two slots at 0x%x: %s", CMX_PARTITION_TABLE_AT,
                cmx_err_text(err));
        return err;
    }
    err = cmx_slots_flash_boot(&slots, chip_id, &report);
    if (err != CMX_OK) {
        cmx_log(CMX_LOG_ERROR, TAG, "no slot holds a valid image for %s: %s", config->chip, cmx_err_text(err));
        return err;
    }
    cmx_log(CMX_LOG_INFO, TAG, "%s, flash of %u KB, %s %s at 0x%06x%s", config->chip,
            (unsigned)(cmx_port_flash_size() / 1024), report.info.project, report.info.version, (unsigned)report.offset,
            report.pending ? ", first boot" : "");
    if (report.aborted)
        cmx_log(CMX_LOG_WARN, TAG, "the previous image restarted before it was confirmed, and is no longer used");
    hand_to_updates(config, chip_id);
    return CMX_OK;
}
