/* board.h - the virtual board: flash, eFuse and configuration in a folder, booted by `cmxsafe-board run`. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/port/port.h"
#include "config.h"

#define BOARD_OK 0
#define BOARD_FAILED 1
#define BOARD_USAGE 2

/* Commands; argv[0] is the command's name; they return BOARD_*. */
int board_cmd_create(int argc, char **argv);
int board_cmd_run(int argc, char **argv);
int board_cmd_image(int argc, char **argv);

/* Prints `cmxsafe: what: why; what to do` to stderr; returns BOARD_FAILED. todo may be NULL. */
int board_fail(const char *what, const char *why, const char *todo);

/* Prints `cmxsafe: what` and where help is; returns BOARD_USAGE. */
int board_usage(const char *fmt, ...) CMX_PRINTF(1, 2);

/* ---- flash.c: NOR flash in a file; a killed process leaves what was written ---- */

struct board_flash {
    uint8_t *mem; /* the file, mapped shared */
    uint32_t size;
};

/* CMX_ENOENT, CMX_EPERM, CMX_EIO; CMX_EFORMAT: not a whole number of sectors, or none. */
CMX_MUST_USE cmx_err board_flash_open(struct board_flash *f, const char *path);
void board_flash_close(struct board_flash *f);

/* As port.h's cmx_port_flash_*; f is a struct board_flash. CMX_EINVAL: beyond the end, or not whole sectors. */
uint32_t board_flash_size(void *f);
CMX_MUST_USE cmx_err board_flash_read(void *f, uint32_t offset, void *out, size_t len);
CMX_MUST_USE cmx_err board_flash_write(void *f, uint32_t offset, const void *data, size_t len);
CMX_MUST_USE cmx_err board_flash_erase(void *f, uint32_t offset, size_t len);

/* ---- hardware.c: the eFuse ---- */

/* In the board's folder, before anything runs: opens the hardware key and tells attestation what the chip is. A board
 * without a usable key runs all the same; why is logged, with the command that mends it. */
void board_hardware_open(const struct board_config *config);
void board_hardware_close(void); /* once nothing runs any more */

/* As port.h's cmx_port_hw_*; the argument is not used. */
cmx_key_kind board_key_kind(void *arg);
CMX_MUST_USE cmx_err board_key_hmac(void *arg, const void *msg, size_t len, uint8_t out[32]);

/* ---- ptable.c: ESP-IDF's partition table ---- */

#define BOARD_PTABLE_AT 0x8000u
#define BOARD_PTABLE_LEN 0xc00u
#define BOARD_APP_AT 0x10000u

/* Bytes of ota_0 and of ota_1, on a chip of that many bytes. */
uint32_t board_slot_size(uint32_t flash_size);

/* nvs, otadata, phy_init, ota_0 and ota_1, in the binary form of gen_esp32part.py, with its MD5. CMX_EINVAL: flash_size
 * is not a power of two from 1 MB to 128 MB. */
CMX_MUST_USE cmx_err board_ptable_make(uint8_t out[BOARD_PTABLE_LEN], uint32_t flash_size);

/* ---- boot.c: what the bootloader does ---- */

/* A whole, unsigned application image that says "secure_services" and this program's version: what a board without an
 * --image runs. Returns its length, at most BOARD_FACTORY_LEN. */
#define BOARD_FACTORY_LEN 1024
CMX_MUST_USE cmx_err board_factory_image(uint8_t out[BOARD_FACTORY_LEN], uint16_t chip_id, const char *version,
                                         size_t *len);

/* What ESP-IDF's bootloader does, in the flash behind port.h: settles a pending image, chooses a slot, checks the
 * image; and hands slots and chip to the update service. Errors are logged. CMX_ENOENT: no whole image. */
CMX_MUST_USE cmx_err board_boot(const struct board_config *config);

#endif
