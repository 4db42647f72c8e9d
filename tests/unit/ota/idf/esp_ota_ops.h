/* esp_ota_ops.h - the part of ESP-IDF's headers that ota_esp.c needs. test_ota_esp.c implements it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int esp_err_t;

#define ESP_OK 0
#define ESP_FAIL -1
#define ESP_ERR_NO_MEM 0x101
#define ESP_ERR_INVALID_ARG 0x102
#define ESP_ERR_INVALID_SIZE 0x104
#define ESP_ERR_NOT_FOUND 0x105
#define ESP_ERR_OTA_VALIDATE_FAILED 0x1503

typedef enum {
    ESP_PARTITION_SUBTYPE_APP_FACTORY = 0,
    ESP_PARTITION_SUBTYPE_APP_OTA_0 = 0x10,
    ESP_PARTITION_SUBTYPE_APP_OTA_1
} esp_partition_subtype_t;

typedef enum {
    ESP_OTA_IMG_NEW,
    ESP_OTA_IMG_PENDING_VERIFY,
    ESP_OTA_IMG_VALID,
    ESP_OTA_IMG_INVALID,
    ESP_OTA_IMG_ABORTED,
    ESP_OTA_IMG_UNDEFINED
} esp_ota_img_states_t;

typedef struct {
    esp_partition_subtype_t subtype;
    uint32_t size;
    char label[17];
} esp_partition_t;

typedef struct {
    uint32_t secure_version;
    char version[32], project_name[32];
} esp_app_desc_t;

const char *esp_err_to_name(esp_err_t rc);
const esp_app_desc_t *esp_app_get_description(void);
const esp_partition_t *esp_ota_get_running_partition(void);
const esp_partition_t *esp_ota_get_boot_partition(void);
const esp_partition_t *esp_ota_get_next_update_partition(const esp_partition_t *from);
const esp_partition_t *esp_ota_get_last_invalid_partition(void);
esp_err_t esp_ota_get_partition_description(const esp_partition_t *p, esp_app_desc_t *out);
esp_err_t esp_ota_get_state_partition(const esp_partition_t *p, esp_ota_img_states_t *out);
esp_err_t esp_ota_set_boot_partition(const esp_partition_t *p);
esp_err_t esp_ota_mark_app_valid_cancel_rollback(void);
bool esp_ota_check_rollback_is_possible(void);
esp_err_t esp_partition_erase_range(const esp_partition_t *p, size_t offset, size_t len);
esp_err_t esp_partition_write(const esp_partition_t *p, size_t offset, const void *data, size_t len);
esp_err_t esp_partition_read(const esp_partition_t *p, size_t offset, void *out, size_t len);
