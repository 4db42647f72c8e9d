/* board.h - the virtual board: flash, eFuse and configuration in a folder. `cmxsafe-board run` boots it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board/board_config.h"
#include "board/idf/partition_table.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/port/port.h"
#include "port/linux/cli.h"

/* Commands: argv[0] is the command's name; each returns a CLI_* status. */
int board_cmd_create(int argc, char **argv);
int board_cmd_run(int argc, char **argv);
int board_cmd_image(int argc, char **argv);

/* The chips that a board can have, in the order of cmx_efuse_chip, NULL at the end (defined in create.c). */
extern const char *const board_chips[];

/* ---- flash.c: NOR flash in a file; writes survive if the process is killed ---- */

struct board_flash {
    uint8_t *mem; /* the file's bytes (mmap with MAP_SHARED) */
    uint32_t size;
};

/* Opens the flash. CMX_ENOENT, CMX_EPERM, CMX_EIO: errno has the reason; CMX_EFORMAT: its size is 0, not a multiple of
 * the sector size, or above 128 MB. */
CMX_MUST_USE cmx_err board_flash_open(struct board_flash *f, const char *path);
void board_flash_close(struct board_flash *f);

/* These functions implement port.h's cmx_port_flash_*; f is a struct board_flash. CMX_EINVAL: the range ends
 * beyond the flash, or an erase does not cover whole sectors. */
uint32_t board_flash_size(void *f);
CMX_MUST_USE cmx_err board_flash_read(void *f, uint32_t offset, void *out, size_t len);
CMX_MUST_USE cmx_err board_flash_write(void *f, uint32_t offset, const void *data, size_t len);
CMX_MUST_USE cmx_err board_flash_erase(void *f, uint32_t offset, size_t len);

/* ---- hardware.c: the eFuse, and the secret that a device without a hardware key stores ---- */

/* Opens the hardware key and passes the facts about the chip to attestation. Call this before the application starts,
 * in the board's folder. A board without a usable key still runs; the log says why the key is unusable. */
void board_hardware_open(const struct board_config *config);
void board_hardware_close(void); /* call this after everything else has ended */

/* These functions implement port.h's cmx_port_secret_*, with the file "ssh_secret.bin" in the board's folder; the
 * argument is not used. */
CMX_MUST_USE cmx_err board_secret_read(void *arg, uint8_t out[CMX_PORT_SECRET_LEN]);
CMX_MUST_USE cmx_err board_secret_create(void *arg, const uint8_t secret[CMX_PORT_SECRET_LEN]);

/* These functions implement port.h's cmx_port_hw_*; the argument is not used. */
cmx_key_kind board_key_kind(void *arg);
CMX_MUST_USE cmx_err board_key_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);

/* ---- partition_make.c: ESP-IDF's partition table ---- */

#define BOARD_APP_AT 0x10000u

/* Returns the size in bytes that ota_0 and ota_1 each have in a flash of flash_size bytes. */
uint32_t board_slot_size(uint32_t flash_size);

/* Makes a table with nvs, otadata, phy_init, ota_0 and ota_1, in the binary form of gen_esp32part.py, with its MD5.
 * CMX_EINVAL: flash_size is not a power of two from 1 MB to 128 MB. */
CMX_MUST_USE cmx_err board_ptable_make(uint8_t out[CMX_PARTITION_TABLE_LEN], uint32_t flash_size);

/* ---- factory.c: a new board's image; boot.c: the boot step of the bootloader ---- */

/* Makes a complete, unsigned application image: named "secure_services", for a chip of board_chips, with this version.
 * Used for boards that are created without --image, and by `cmxsafe-board image`. *len: its length, at most
 * BOARD_FACTORY_LEN. */
#define BOARD_FACTORY_LEN 1024
CMX_MUST_USE cmx_err board_factory_image(uint8_t out[BOARD_FACTORY_LEN], const char *chip, const char *version,
                                         size_t *len);

/* Boots as ESP-IDF's bootloader does, from the flash (cmx_port_flash_*): puts a new image on trial, gives up an image
 * that restarted before it was confirmed, chooses a slot and checks its image. Then passes slots and chip to the update
 * service. Errors are logged. CMX_ENOENT: no slot holds a valid image for this chip. */
CMX_MUST_USE cmx_err board_boot(const struct board_config *config);
