#include "board/idf/efuse.h"

#include <string.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/ota/bytes.h"
#include "port/linux/file_read.h"

#define BLOCK0 0x02c /* EFUSE_RD_WR_DIS_REG */
#define KEY3 0x0fc   /* EFUSE_RD_KEY3_DATA0_REG */
#define RD_DIS_KEY3 (1u << 3)
#define PURPOSE_USER 0
#define PURPOSE_HMAC_UP 8

cmx_err cmx_efuse_parse(struct cmx_efuse *out, const uint8_t *file, size_t len)
{
    if (len != CMX_EFUSE_FILE_LEN)
        return CMX_EFORMAT;
    for (size_t i = 0; i < len; i++)
        out->reg[i] = file[len - 1 - i];
    return CMX_OK;
}

cmx_err cmx_efuse_load(const char *path, struct cmx_efuse *out, struct cmx_why *why)
{
    struct cmx_why what = {""};
    char *file = NULL;
    size_t len = 0;
    cmx_err err = cmx_file_read_any(path, CMX_EFUSE_FILE_LEN, &file, &len, &what);

    if (err && err != CMX_ENOSPC)
        return cmx_why_fail(why, err, "%s: %s", path, what.text);
    if (!err)
        err = cmx_efuse_parse(out, (const uint8_t *)file, len);
    cmx_mem_free_secret(file);
    return err ? cmx_why_fail(why, CMX_EFORMAT,
                              "%s: not an eFuse file of %d bytes; create one with espefuse --virt --path-efuse-file",
                              path, CMX_EFUSE_FILE_LEN)
               : CMX_OK;
}

/* Returns a field of BLOCK0: `len` bits from bit `pos` on in the 32-bit word number `word`. */
static uint32_t field(const struct cmx_efuse *f, unsigned word, unsigned pos, unsigned len)
{
    return cmx_le32(f->reg + BLOCK0 + 4 * word) >> pos & ((1u << len) - 1);
}

static bool all_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;

    for (size_t i = 0; i < len; i++)
        any |= p[i];
    return any == 0;
}

static cmx_err refuse(struct cmx_why *why, const char *what, const char *path, const char *command)
{
    return cmx_why_fail(why, CMX_ENOKEY, "%s; espefuse --chip CHIP --virt --path-efuse-file %s %s", what, path,
                        command);
}

cmx_err cmx_efuse_key(const struct cmx_efuse *f, const char *path, uint8_t key[CMX_HMAC_KEY_LEN], struct cmx_why *why)
{
    static const char burn[] = "burn_key BLOCK_KEY3 private_key.bin HMAC_UP";
    bool guarded = field(f, 1, 0, 7) & RD_DIS_KEY3;
    bool empty = all_zero(f->reg + KEY3, CMX_HMAC_KEY_LEN);
    uint32_t purpose = field(f, 3, 4, 4);

    memset(key, 0, CMX_HMAC_KEY_LEN);
    if (purpose == PURPOSE_USER && empty && !guarded)
        return refuse(why, "BLOCK_KEY3 holds no key", path, burn);
    if (purpose != PURPOSE_HMAC_UP)
        return refuse(
            why,
            "BLOCK_KEY3 was burned for a purpose other than HMAC_UP and cannot be changed; move this eFuse file away, "
            "then make a new one",
            path, burn);
    if (!guarded)
        return refuse(why, "BLOCK_KEY3 is not read-protected: software could read the key", path,
                      "read_protect_efuse BLOCK_KEY3");
    if (empty)
        return CMX_EAGAIN;
    memcpy(key, f->reg + KEY3, CMX_HMAC_KEY_LEN);
    return CMX_OK;
}

bool cmx_efuse_secure_boot(const struct cmx_efuse *f)
{
    return field(f, 3, 20, 1);
}

/* SPI_BOOT_CRYPT_CNT: encryption is on while an odd number of its bits is set. In release mode all three are set, so
 * that encryption stays on, and plain writes in download mode are disabled (DIS_DOWNLOAD_MANUAL_ENCRYPT). Source:
 * ESP-IDF, esp_flash_encryption_get_mode. */
cmx_flash_encryption cmx_efuse_flash_encryption(const struct cmx_efuse *f)
{
    uint32_t count = field(f, 2, 18, 3);

    if (!((count ^ count >> 1 ^ count >> 2) & 1))
        return CMX_FLASH_PLAIN;
    return count == 7 && field(f, 1, 20, 1) ? CMX_FLASH_RELEASE : CMX_FLASH_DEVELOPMENT;
}

/* Debugging is disabled permanently if eFuses disable pad JTAG and, on a chip with USB JTAG, also USB JTAG. If pad
 * JTAG is disabled only by SOFT_DIS_JTAG (`soft`), an HMAC key can enable it again: the state is then
 * CMX_DEBUG_DISABLED. */
cmx_debug_state cmx_efuse_debug(const struct cmx_efuse *f, cmx_efuse_chip chip)
{
    bool pad = field(f, 1, chip == CMX_EFUSE_ESP32S2 ? 18 : 19, 1);
    bool usb = true; /* USB JTAG is disabled; true for the S2, which has no USB JTAG */
    uint32_t soft = chip == CMX_EFUSE_ESP32S2 ? field(f, 1, 17, 1) : field(f, 1, 16, 3);

    if (chip == CMX_EFUSE_ESP32S3)
        usb = field(f, 3, 22, 1);
    else if (chip != CMX_EFUSE_ESP32S2)
        usb = field(f, 1, 9, 1);
    if (pad && usb)
        return CMX_DEBUG_DISABLED_PERMANENTLY;
    /* An odd number of set bits in `soft` disables pad JTAG, but not USB JTAG. */
    return usb && ((soft ^ soft >> 1 ^ soft >> 2) & 1) ? CMX_DEBUG_DISABLED : CMX_DEBUG_ENABLED;
}

uint32_t cmx_efuse_secure_version(const struct cmx_efuse *f, cmx_efuse_chip chip)
{
    unsigned pos = chip == CMX_EFUSE_ESP32S2 ? 11 : chip == CMX_EFUSE_ESP32H2 ? 9 : 14;

    return (uint32_t)__builtin_popcount(field(f, 4, pos, 16));
}

cmx_err cmx_efuse_open_hw_key(const char *path, const char *silicon, struct cmx_hw_key **out, struct cmx_why *why)
{
    struct cmx_efuse fuses;
    uint8_t key[CMX_HMAC_KEY_LEN];
    cmx_err err = cmx_efuse_load(path, &fuses, why);

    if (!err)
        err = cmx_efuse_key(&fuses, path, key, why);
    if (err == CMX_EAGAIN) {
        err = cmx_hw_key_read_file(silicon, false, key, why);
        if (err) /* replaces the reason with one that names both files */
            cmx_why_set(why,
                        "%s holds no bits of a read-protected key; %s must be a copy of the key file that was burned",
                        path, silicon);
    }
    if (!err)
        err = cmx_hw_key_create_raw(CMX_KEY_EFUSE, key, out);
    cmx_secret_wipe(key, sizeof key);
    cmx_secret_wipe(&fuses, sizeof fuses);
    return err;
}
