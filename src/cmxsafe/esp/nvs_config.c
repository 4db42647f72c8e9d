#ifdef ESP_PLATFORM

#include "cmxsafe/esp/nvs_config.h"

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/port.h"
#include "nvs.h"
#include "nvs_flash.h"

#define SECRET "ssh_secret" /* the device derives its SSH key from this secret (identity/own_key.h) */

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
    esp_err_t rc = nvs_flash_init(); /* decrypts the storage if CONFIG_NVS_ENCRYPTION is set */

    if (rc == ESP_ERR_NVS_NO_FREE_PAGES || rc == ESP_ERR_NVS_NEW_VERSION_FOUND) {
        cmx_log(CMX_LOG_ERROR, "config",
                "NVS has no free page or was written by a newer version: the built-in settings apply, and no update is "
                "accepted; erase the partition \"nvs\" and set its settings again");
        return CMX_OK;
    }
    return from_nvs(rc);
}

#if CONFIG_NVS_ENCRYPTION
bool cmx_port_secret_is_encrypted(void)
{
    return true;
}
#else
bool cmx_port_secret_is_encrypted(void)
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
        rc = ESP_OK; /* the key was not set: nothing to erase */
    if (rc == ESP_OK)
        rc = nvs_commit(nvs);
    nvs_close(nvs);
    return from_nvs(rc);
}

cmx_err cmx_port_secret_read(uint8_t out[CMX_PORT_SECRET_LEN])
{
    nvs_handle_t nvs;
    size_t len = CMX_PORT_SECRET_LEN;
    esp_err_t rc = nvs_open(CMX_NVS_NAMESPACE, NVS_READONLY, &nvs);

    if (rc == ESP_OK) {
        rc = nvs_get_blob(nvs, SECRET, out, &len);
        nvs_close(nvs);
    }
    if (rc == ESP_OK && len == CMX_PORT_SECRET_LEN)
        return CMX_OK;
    cmx_secret_wipe(out, CMX_PORT_SECRET_LEN);
    return rc == ESP_ERR_NVS_NOT_FOUND ? CMX_ENOENT : CMX_EIO;
}

cmx_err cmx_port_secret_create(const uint8_t secret[CMX_PORT_SECRET_LEN])
{
    nvs_handle_t nvs;
    size_t len = 0;
    bool exists;
    esp_err_t rc = nvs_open(CMX_NVS_NAMESPACE, NVS_READWRITE, &nvs);

    if (rc != ESP_OK)
        return from_nvs(rc);
    rc = nvs_get_blob(nvs, SECRET, NULL, &len);
    exists = rc == ESP_OK;
    if (rc == ESP_ERR_NVS_NOT_FOUND)
        rc = nvs_set_blob(nvs, SECRET, secret, CMX_PORT_SECRET_LEN);
    if (rc == ESP_OK && !exists)
        rc = nvs_commit(nvs);
    nvs_close(nvs);
    return exists ? CMX_EEXIST : from_nvs(rc);
}

uint32_t cmx_nvs_count_boot(void)
{
    uint32_t boots = 0;
    nvs_handle_t nvs;

    if (nvs_open(CMX_NVS_NAMESPACE, NVS_READWRITE, &nvs) != ESP_OK)
        return 0;
    (void)nvs_get_u32(nvs, "boots", &boots); /* fails at the first start, when there is no value yet */
    boots++;
    if (nvs_set_u32(nvs, "boots", boots) != ESP_OK || nvs_commit(nvs) != ESP_OK)
        boots = 0;
    nvs_close(nvs);
    return boots;
}

#endif
