/* efuse.h - reads an ESP32's eFuse controller from a file in the format of `espefuse --virt --path-efuse-file`: the 512
 * bytes of its registers in reverse order. espefuse burns bits in this file. The layout is the same in ESP32-S2, S3,
 * C3, C6 and H2 (espefuse's efuse_defs, checked by tests/e2e/attest/attest_efuse.sh with the real tool). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/attest/evidence.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"
#include "port/linux/hw_key.h"

#define CMX_EFUSE_FILE_LEN 512

typedef enum {
    CMX_EFUSE_ESP32S2,
    CMX_EFUSE_ESP32S3,
    CMX_EFUSE_ESP32C3,
    CMX_EFUSE_ESP32C6,
    CMX_EFUSE_ESP32H2
} cmx_efuse_chip;

/* The registers in the order of their addresses. They include key bits that are not read-protected. */
struct cmx_efuse {
    uint8_t reg[CMX_EFUSE_FILE_LEN];
};

/* Reads the file. CMX_ENOENT, CMX_EPERM, CMX_EIO: it cannot be read; CMX_EFORMAT: it is not 512 bytes long. why
 * (may be NULL): what is wrong and how to correct it. */
CMX_MUST_USE cmx_err cmx_efuse_load(const char *path, struct cmx_efuse *out, struct cmx_why *why);

/* Parses the content of an eFuse file. CMX_EFORMAT: len is not 512. Pure. */
CMX_MUST_USE cmx_err cmx_efuse_parse(struct cmx_efuse *out, const uint8_t *file, size_t len);

/* Copies the key of BLOCK_KEY3, if its purpose is HMAC_UP and it is read-protected. CMX_ENOKEY: there is no key, it
 * has another purpose, or it is readable; *why then says how to correct it, with an espefuse command for the file
 * `path`. CMX_EAGAIN: a key was burned, but espefuse left no bits of it in the file. The caller wipes key. */
CMX_MUST_USE cmx_err cmx_efuse_key(const struct cmx_efuse *f, const char *path, uint8_t key[CMX_HMAC_KEY_LEN],
                                   struct cmx_why *why);

/* These functions return the chip's properties for evidence. */
bool cmx_efuse_secure_boot(const struct cmx_efuse *f);
cmx_flash_encryption cmx_efuse_flash_encryption(const struct cmx_efuse *f);
cmx_debug_state cmx_efuse_debug(const struct cmx_efuse *f, cmx_efuse_chip chip);
/* Returns the lowest secure version that may run: the number of burned bits in SECURE_VERSION. */
uint32_t cmx_efuse_secure_version(const struct cmx_efuse *f, cmx_efuse_chip chip);

/* Opens the key in BLOCK_KEY3 of an eFuse file. espefuse keeps no read-protected bits in that file, since software on a
 * chip could not read them either. For a key whose bits are not in that file, reads `silicon`, the key file that was
 * burned. */
CMX_MUST_USE cmx_err cmx_efuse_open_hw_key(const char *path, const char *silicon, struct cmx_hw_key **out,
                                           struct cmx_why *why);
