#ifdef ESP_PLATFORM

#include "cmxsafe/port/esp/nvs_config.h"

#include "cmxsafe/core/log.h"
#include "nvs.h"
#include "nvs_flash.h"

static cmx_err from_nvs(esp_err_t rc)
{
    switch (rc) {
    case ESP_OK:
        return CMX_OK;
    case ESP_ERR_NVS_NOT_FOUND:
        return CMX_ENOENT;
    case ESP_ERR_NVS_INVALID_LENGTH:
    case ESP_ERR_NVS_NOT_ENOUGH_SPACE:
    case ESP_ERR_NVS_VALUE_TOO_LONG:
        return CMX_ENOSPC;
    case ESP_ERR_NVS_KEY_TOO_LONG:
    case ESP_ERR_NVS_INVALID_NAME:
        return CMX_EINVAL;
    case ESP_ERR_NO_MEM:
        return CMX_ENOMEM;
    default:
        return CMX_EIO;
    }
}

cmx_err cmx_nvs_init(void)
{
    esp_err_t rc = nvs_flash_init(); /* with keys, where CONFIG_NVS_ENCRYPTION says so */

    if (rc == ESP_ERR_NVS_NO_FREE_PAGES || rc == ESP_ERR_NVS_NEW_VERSION_FOUND) {
        cmx_log(CMX_LOG_WARN, "config", "NVS is full or of another version: erased; the built-in settings apply");
        rc = nvs_flash_erase();
        if (rc == ESP_OK)
            rc = nvs_flash_init();
    }
    return from_nvs(rc);
}

#if CONFIG_NVS_ENCRYPTION
bool cmx_nvs_is_encrypted(void)
{
    return true;
}
#else
bool cmx_nvs_is_encrypted(void)
{
    return false;
}
#endif

cmx_err cmx_nvs_get(const char *key, char *out, size_t cap)
{
    nvs_handle_t nvs;
    size_t len = cap;
    esp_err_t rc = nvs_open(CMX_NVS_NAMESPACE, NVS_READONLY, &nvs);

    if (rc != ESP_OK)
        return from_nvs(rc);
    rc = nvs_get_str(nvs, key, out, &len);
    nvs_close(nvs);
    return from_nvs(rc);
}

cmx_err cmx_nvs_set(const char *key, const char *value)
{
    nvs_handle_t nvs;
    esp_err_t rc = nvs_open(CMX_NVS_NAMESPACE, NVS_READWRITE, &nvs);

    if (rc != ESP_OK)
        return from_nvs(rc);
    rc = value ? nvs_set_str(nvs, key, value) : nvs_erase_key(nvs, key);
    if (rc == ESP_ERR_NVS_NOT_FOUND && !value)
        rc = ESP_OK; /* already gone */
    if (rc == ESP_OK)
        rc = nvs_commit(nvs);
    nvs_close(nvs);
    return from_nvs(rc);
}

uint32_t cmx_nvs_count_boot(void)
{
    uint32_t boots = 0;
    nvs_handle_t nvs;

    if (nvs_open(CMX_NVS_NAMESPACE, NVS_READWRITE, &nvs) != ESP_OK)
        return 0;
    (void)nvs_get_u32(nvs, "boots", &boots); /* not there the first time */
    boots++;
    if (nvs_set_u32(nvs, "boots", boots) != ESP_OK || nvs_commit(nvs) != ESP_OK)
        boots = 0;
    nvs_close(nvs);
    return boots;
}

#endif
