/* hw_key_esp.c - implements port.h's hardware key: an eFuse block with purpose HMAC_UP, which only the HMAC peripheral
 * can read. The ESP32-S2, S3, C3, C5, C6, H2 and P4 have this peripheral. The first ESP32 has no HMAC peripheral: the
 * second half of this file reports that there is no key. */
#ifdef ESP_PLATFORM

#include "cmxsafe/port/port.h"
#include "soc/soc_caps.h"

#if SOC_HMAC_SUPPORTED

#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/esp/esp_defaults.h"
#include "esp_efuse.h"
#include "esp_hmac.h"

#define KEY_BLOCK ((esp_efuse_block_t)(EFUSE_BLK_KEY0 + CONFIG_CMX_HMAC_KEY))

#if CONFIG_CMX_HMAC_KEY_READABLE
/* Accepts a key without read protection; evidence calls it a software key. This is only for development and for
 * emulators. Some emulators read a read-protected key as zeros. */
static const cmx_key_kind readable = CMX_KEY_SOFTWARE;
#else
static const cmx_key_kind readable = CMX_KEY_NONE;
#endif

cmx_key_kind cmx_port_hw_key_kind(void)
{
    if (esp_efuse_get_key_purpose(KEY_BLOCK) != ESP_EFUSE_KEY_PURPOSE_HMAC_UP)
        return CMX_KEY_NONE;
    return esp_efuse_get_key_dis_read(KEY_BLOCK) ? CMX_KEY_EFUSE : readable;
}

cmx_err cmx_port_hw_hmac(const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    if (cmx_port_hw_key_kind() == CMX_KEY_NONE)
        return CMX_ENOKEY;
    /* The peripheral's lock in ESP-IDF serialises the calls. */
    if (esp_hmac_calculate((hmac_key_id_t)(HMAC_KEY0 + CONFIG_CMX_HMAC_KEY), msg, len, out) == ESP_OK)
        return CMX_OK;
    cmx_secret_wipe(out, CMX_SHA256_LEN);
    return CMX_EIO;
}

#else

cmx_key_kind cmx_port_hw_key_kind(void)
{
    return CMX_KEY_NONE;
}

cmx_err cmx_port_hw_hmac(const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    (void)msg;
    (void)len;
    (void)out;
    return CMX_ENOKEY;
}

#endif
#endif
