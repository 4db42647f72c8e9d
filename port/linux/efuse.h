/* efuse.h - an ESP32's eFuse controller in a file, in the form that `espefuse --virt --path-efuse-file` keeps: the 512
 * bytes of its registers, the last first. Reading only: burning is espefuse's. Same places in ESP32-S2, S3, C3, C6 and
 * H2 (espefuse's efuse_defs, checked by tests/e2e/efuse.sh with the real tool). */
#ifndef CMX_EFUSE_H
#define CMX_EFUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/attest/evidence.h"
#include "cmxsafe/core/err.h"

#define CMX_EFUSE_FILE_LEN 512

typedef enum {
    CMX_EFUSE_ESP32S2,
    CMX_EFUSE_ESP32S3,
    CMX_EFUSE_ESP32C3,
    CMX_EFUSE_ESP32C6,
    CMX_EFUSE_ESP32H2
} cmx_efuse_chip;

/* The registers, in order of their addresses. Holds key bits where they are not read-protected. */
struct cmx_efuse {
    uint8_t reg[CMX_EFUSE_FILE_LEN];
};

/* CMX_ENOENT, CMX_EPERM, CMX_EIO; CMX_EFORMAT: not 512 bytes. why: as in hw_key.h. */
CMX_MUST_USE cmx_err cmx_efuse_load(const char *path, struct cmx_efuse *out, char *why, size_t why_cap);

/* Pure: len bytes of a file. CMX_EFORMAT. */
CMX_MUST_USE cmx_err cmx_efuse_parse(struct cmx_efuse *out, const uint8_t *file, size_t len);

/* The key of BLOCK_KEY3, if its purpose is HMAC_UP and it is read-protected. CMX_ENOKEY: no key, another purpose, or
 * readable; why then has the command that mends it for the file `path`. CMX_EAGAIN: a key was burned, but espefuse left
 * no bits of it in the file. The caller wipes key. */
CMX_MUST_USE cmx_err cmx_efuse_key(const struct cmx_efuse *f, const char *path, uint8_t key[32], char *why,
                                   size_t why_cap);

/* What evidence says of the chip. */
bool cmx_efuse_secure_boot(const struct cmx_efuse *f);
cmx_flash_encryption cmx_efuse_flash_encryption(const struct cmx_efuse *f);
cmx_debug_state cmx_efuse_debug(const struct cmx_efuse *f, cmx_efuse_chip chip);
uint32_t cmx_efuse_secure_version(const struct cmx_efuse *f, cmx_efuse_chip chip); /* bits burned: the floor */

#endif
