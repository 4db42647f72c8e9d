/* boot.c - the bootloader's part: which slot's application runs. */
#include "board.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/port/port.h"

#define TAG "boot"

cmx_err board_boot(const struct board_config *config)
{
    uint8_t magic[2];
    cmx_err err = cmx_port_flash_read(BOARD_PTABLE_AT, magic, sizeof magic);

    if (err == CMX_OK && (magic[0] != 0xaa || magic[1] != 0x50))
        err = CMX_EFORMAT;
    if (err != CMX_OK) {
        cmx_log(CMX_LOG_ERROR, TAG, "no partition table at 0x%x: %s", BOARD_PTABLE_AT, cmx_err_text(err));
        return err;
    }
    cmx_log(CMX_LOG_INFO, TAG, "%s, flash of %u KB", config->chip, (unsigned)(cmx_port_flash_size() / 1024));
    return CMX_OK;
}
