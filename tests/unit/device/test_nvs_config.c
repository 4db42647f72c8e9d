/* The settings and the secret of an ESP32 in NVS, with a partition that holds one text and one secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The test is linked with port/linux, which has functions of these names too. */
#define cmx_port_secret_read nvs_secret_read
#define cmx_port_secret_create nvs_secret_create
#define cmx_port_secret_is_encrypted nvs_secret_is_encrypted
#define CONFIG_NVS_ENCRYPTION 0
#define ESP_PLATFORM
#include "cmxsafe/esp/nvs_config.c"

static esp_err_t state_of_flash; /* what nvs_flash_init finds */
static bool initialized, is_full;
static unsigned erased;
static char stored_key[16], stored_text[32]; /* "": nothing is stored */
static uint8_t stored_secret[CMX_PORT_SECRET_LEN];
static size_t stored_secret_len; /* 0: no secret is stored */
static unsigned commits;

esp_err_t nvs_flash_init(void)
{
    initialized = state_of_flash == ESP_OK;
    return state_of_flash;
}

esp_err_t nvs_flash_erase(void)
{
    erased++;
    stored_key[0] = 0;
    stored_secret_len = 0;
    state_of_flash = ESP_OK;
    return ESP_OK;
}

esp_err_t nvs_open(const char *name, nvs_open_mode_t mode, nvs_handle_t *out)
{
    (void)mode;
    assert_string_equal(name, "cmxsafe");
    *out = 1;
    return initialized ? ESP_OK : ESP_ERR_NVS_NOT_INITIALIZED;
}

void nvs_close(nvs_handle_t nvs)
{
    assert_int_equal(nvs, 1);
}

esp_err_t nvs_commit(nvs_handle_t nvs)
{
    assert_int_equal(nvs, 1);
    commits++;
    return ESP_OK;
}

esp_err_t nvs_erase_key(nvs_handle_t nvs, const char *key)
{
    (void)nvs;
    if (strcmp(key, stored_key) != 0)
        return ESP_ERR_NVS_NOT_FOUND;
    stored_key[0] = 0;
    return ESP_OK;
}

/* Copies a stored value as ESP-IDF does. out NULL: only tells its length. */
static esp_err_t get(const void *value, size_t size, void *out, size_t *len)
{
    const size_t cap = *len;

    *len = size;
    if (out && size > cap)
        return ESP_ERR_NVS_INVALID_LENGTH;
    if (out)
        memcpy(out, value, size);
    return ESP_OK;
}

esp_err_t nvs_get_blob(nvs_handle_t nvs, const char *key, void *out, size_t *len)
{
    (void)nvs;
    assert_string_equal(key, "ssh_secret");
    return stored_secret_len ? get(stored_secret, stored_secret_len, out, len) : ESP_ERR_NVS_NOT_FOUND;
}

esp_err_t nvs_get_str(nvs_handle_t nvs, const char *key, char *out, size_t *len)
{
    (void)nvs;
    return strcmp(key, stored_key) == 0 ? get(stored_text, strlen(stored_text) + 1, out, len) : ESP_ERR_NVS_NOT_FOUND;
}

esp_err_t nvs_set_str(nvs_handle_t nvs, const char *key, const char *value)
{
    (void)nvs;
    if (strlen(value) >= sizeof stored_text)
        return ESP_ERR_NVS_NOT_ENOUGH_SPACE;
    strcpy(stored_key, key);
    strcpy(stored_text, value);
    return ESP_OK;
}

esp_err_t nvs_set_blob(nvs_handle_t nvs, const char *key, const void *value, size_t len)
{
    (void)nvs;
    assert_string_equal(key, "ssh_secret");
    if (is_full)
        return ESP_ERR_NVS_NOT_ENOUGH_SPACE;
    assert_true(len <= sizeof stored_secret);
    memcpy(stored_secret, value, len);
    stored_secret_len = len;
    return ESP_OK;
}

esp_err_t nvs_get_u32(nvs_handle_t nvs, const char *key, uint32_t *out)
{
    (void)nvs;
    (void)key;
    (void)out;
    return ESP_ERR_NVS_NOT_FOUND;
}

esp_err_t nvs_set_u32(nvs_handle_t nvs, const char *key, uint32_t value)
{
    (void)nvs;
    assert_string_equal(key, "boots");
    assert_int_equal(value, 1);
    return ESP_OK;
}

static int set_up(void **state)
{
    (void)state;
    state_of_flash = ESP_OK;
    initialized = is_full = false;
    erased = commits = 0;
    stored_key[0] = 0;
    stored_secret_len = 0;
    return 0;
}

static void stores_and_reads(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(cmx_nvs_init(), CMX_OK);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_ENOENT);
    assert_int_equal(cmx_nvs_set("update_key", "key"), CMX_OK);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_OK);
    assert_string_equal(text, "key");
    assert_int_equal(cmx_nvs_set("update_key", "longer text"), CMX_OK);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_ENOSPC);
    assert_int_equal(cmx_nvs_set("update_key", NULL), CMX_OK);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_ENOENT);
    assert_int_equal(cmx_nvs_count_boot(), 1);
}

/* The secret is created once. Another call neither replaces it nor pretends to have stored a new one. */
static void creates_a_secret_once(void **state)
{
    const uint8_t first[CMX_PORT_SECRET_LEN] = {1}, second[CMX_PORT_SECRET_LEN] = {2};
    uint8_t have[CMX_PORT_SECRET_LEN];

    (void)state;
    assert_int_equal(cmx_nvs_init(), CMX_OK);
    assert_int_equal(nvs_secret_read(have), CMX_ENOENT);
    is_full = true;
    assert_int_equal(nvs_secret_create(first), CMX_ENOSPC);
    assert_int_equal(nvs_secret_read(have), CMX_ENOENT);
    is_full = false;
    assert_int_equal(nvs_secret_create(first), CMX_OK);
    assert_int_equal(commits, 1);
    assert_int_equal(nvs_secret_create(second), CMX_EEXIST);
    assert_int_equal(nvs_secret_read(have), CMX_OK);
    assert_memory_equal(have, first, sizeof first);
    stored_secret_len--; /* a secret of another length is an error, and not a missing one */
    assert_int_equal(nvs_secret_read(have), CMX_EIO);
    assert_int_equal(nvs_secret_create(second), CMX_EEXIST);
}

/* A partition that cannot be read is not erased, and its settings do not count as missing. Otherwise the device would
 * accept unsigned images and create a new SSH key. */
static void keeps_what_it_cannot_read(void **state)
{
    static const esp_err_t states[] = {ESP_ERR_NVS_NO_FREE_PAGES, ESP_ERR_NVS_NEW_VERSION_FOUND};
    uint8_t secret[CMX_PORT_SECRET_LEN] = {1};
    char text[8];

    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        strcpy(stored_key, "update_key");
        state_of_flash = states[i];
        assert_int_equal(cmx_nvs_init(), CMX_OK); /* the device starts, with isolation */
        assert_int_equal(erased, 0);
        assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_EIO);
        assert_int_equal(cmx_nvs_set("update_key", "key"), CMX_EIO);
        assert_int_equal(nvs_secret_read(secret), CMX_EIO);
        assert_int_equal(nvs_secret_create(secret), CMX_EIO);
        assert_int_equal(cmx_nvs_count_boot(), 0);
    }
    state_of_flash = ESP_ERR_NOT_FOUND; /* there is no partition */
    assert_int_equal(cmx_nvs_init(), CMX_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(stores_and_reads, set_up),
        cmocka_unit_test_setup(creates_a_secret_once, set_up),
        cmocka_unit_test_setup(keeps_what_it_cannot_read, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
