/* nvs.h - the part of ESP-IDF's nvs.h and nvs_flash.h that nvs_config.c needs. test_nvs_config.c implements it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef int esp_err_t;
typedef uint32_t nvs_handle_t;
typedef enum { NVS_READONLY, NVS_READWRITE } nvs_open_mode_t;

#define ESP_OK 0
#define ESP_ERR_NO_MEM 0x101
#define ESP_ERR_NOT_FOUND 0x105
#define ESP_ERR_NVS_NOT_INITIALIZED 0x1101
#define ESP_ERR_NVS_NOT_FOUND 0x1102
#define ESP_ERR_NVS_NOT_ENOUGH_SPACE 0x1105
#define ESP_ERR_NVS_INVALID_NAME 0x1106
#define ESP_ERR_NVS_KEY_TOO_LONG 0x1109
#define ESP_ERR_NVS_INVALID_LENGTH 0x110c
#define ESP_ERR_NVS_NO_FREE_PAGES 0x110d
#define ESP_ERR_NVS_VALUE_TOO_LONG 0x110e
#define ESP_ERR_NVS_NEW_VERSION_FOUND 0x1110

esp_err_t nvs_flash_init(void);
esp_err_t nvs_flash_erase(void);
esp_err_t nvs_open(const char *name, nvs_open_mode_t mode, nvs_handle_t *out);
void nvs_close(nvs_handle_t nvs);
esp_err_t nvs_commit(nvs_handle_t nvs);
esp_err_t nvs_erase_key(nvs_handle_t nvs, const char *key);
esp_err_t nvs_get_str(nvs_handle_t nvs, const char *key, char *out, size_t *len);
esp_err_t nvs_set_str(nvs_handle_t nvs, const char *key, const char *value);
esp_err_t nvs_get_blob(nvs_handle_t nvs, const char *key, void *out, size_t *len);
esp_err_t nvs_set_blob(nvs_handle_t nvs, const char *key, const void *value, size_t len);
esp_err_t nvs_get_u32(nvs_handle_t nvs, const char *key, uint32_t *out);
esp_err_t nvs_set_u32(nvs_handle_t nvs, const char *key, uint32_t value);
