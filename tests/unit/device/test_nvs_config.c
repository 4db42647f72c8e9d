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
static uint32_t stored_boots;    /* 0: nothing is stored */
static esp_err_t open_result, blob_result, commit_result;
static unsigned commits, handles; /* handles: how many are open */
static bool writable;

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
    const esp_err_t rc = initialized ? open_result : ESP_ERR_NVS_NOT_INITIALIZED;

    assert_string_equal(name, "cmxsafe");
    *out = 1;
    writable = mode == NVS_READWRITE;
    handles += rc == ESP_OK;
    return rc;
}

void nvs_close(nvs_handle_t nvs)
{
    assert_int_equal(nvs, 1);
    handles--;
}

esp_err_t nvs_commit(nvs_handle_t nvs)
{
    assert_int_equal(nvs, 1);
    assert_true(writable);
    commits++;
    return commit_result;
}

esp_err_t nvs_erase_key(nvs_handle_t nvs, const char *key)
{
    (void)nvs;
    if (strcmp(key, stored_key) != 0)
        return ESP_ERR_NVS_NOT_FOUND;
    stored_key[0] = 0;
    return ESP_OK;
}

/* Copies a stored value as ESP-IDF does. out NULL: only sets *len. */
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
    if (blob_result != ESP_OK)
        return blob_result;
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
    assert_string_equal(key, "boots");
    if (!stored_boots)
        return ESP_ERR_NVS_NOT_FOUND;
    *out = stored_boots;
    return ESP_OK;
}

esp_err_t nvs_set_u32(nvs_handle_t nvs, const char *key, uint32_t value)
{
    (void)nvs;
    assert_string_equal(key, "boots");
    stored_boots = value;
    return ESP_OK;
}

static int set_up(void **state)
{
    (void)state;
    state_of_flash = open_result = blob_result = commit_result = ESP_OK;
    initialized = is_full = false;
    erased = commits = handles = stored_boots = 0;
    stored_key[0] = 0;
    stored_secret_len = 0;
    return 0;
}

static int all_handles_are_closed(void **state)
{
    (void)state;
    return handles == 0 ? 0 : -1;
}

static void stores_and_reads(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(cmx_nvs_init(), CMX_OK);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_ENOENT);
    assert_int_equal(cmx_nvs_set("update_key", NULL), CMX_OK); /* there is nothing to erase */
    commits = 0;
    assert_int_equal(cmx_nvs_set("update_key", "key"), CMX_OK);
    assert_int_equal(commits, 1);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_OK);
    assert_string_equal(text, "key");
    assert_int_equal(cmx_nvs_set("update_key", "longer text"), CMX_OK);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_ENOSPC);
    assert_int_equal(cmx_nvs_set("update_key", NULL), CMX_OK);
    assert_int_equal(cmx_nvs_get("update_key", text, sizeof text), CMX_ENOENT);
    assert_int_equal(commits, 3);
    assert_int_equal(cmx_nvs_count_boot(), 1);
    assert_int_equal(cmx_nvs_count_boot(), 2);
    commit_result = ESP_ERR_NVS_NOT_ENOUGH_SPACE;
    assert_int_equal(cmx_nvs_count_boot(), 0);
    assert_int_equal(cmx_nvs_set("update_key", "key"), CMX_ENOSPC);
}

/* The secret is created once. Another call does not replace it, and fails with CMX_EEXIST. */
static void creates_a_secret_once(void **state)
{
    const uint8_t first[CMX_PORT_SECRET_LEN] = {1}, second[CMX_PORT_SECRET_LEN] = {2};
    const uint8_t none[CMX_PORT_SECRET_LEN] = {0};
    uint8_t have[CMX_PORT_SECRET_LEN];

    (void)state;
    assert_int_equal(cmx_nvs_init(), CMX_OK);
    assert_int_equal(nvs_secret_read(have), CMX_ENOENT);
    blob_result = ESP_ERR_NVS_INVALID_LENGTH; /* a secret that cannot be read is not replaced */
    assert_int_equal(nvs_secret_create(first), CMX_ENOSPC);
    assert_int_equal(stored_secret_len, 0);
    blob_result = ESP_OK;
    open_result = ESP_ERR_NVS_NOT_ENOUGH_SPACE;
    assert_int_equal(nvs_secret_create(first), CMX_ENOSPC);
    open_result = ESP_OK;
    is_full = true;
    assert_int_equal(nvs_secret_create(first), CMX_ENOSPC);
    assert_int_equal(nvs_secret_read(have), CMX_ENOENT);
    is_full = false;
    assert_int_equal(nvs_secret_create(first), CMX_OK);
    assert_int_equal(nvs_secret_create(second), CMX_EEXIST);
    assert_int_equal(commits, 1);
    assert_int_equal(nvs_secret_read(have), CMX_OK);
    assert_memory_equal(have, first, sizeof first);
    stored_secret_len--; /* a secret of another length is an error, and does not count as missing */
    assert_int_equal(nvs_secret_read(have), CMX_EIO);
    assert_memory_equal(have, none, sizeof none);
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

static void names_each_error(void **state)
{
    static const struct {
        esp_err_t rc;
        cmx_err err;
    } errors[] = {{ESP_ERR_NVS_NOT_FOUND, CMX_ENOENT},      {ESP_ERR_NVS_INVALID_LENGTH, CMX_ENOSPC},
                  {ESP_ERR_NVS_VALUE_TOO_LONG, CMX_ENOSPC}, {ESP_ERR_NVS_KEY_TOO_LONG, CMX_EINVAL},
                  {ESP_ERR_NVS_INVALID_NAME, CMX_EINVAL},   {ESP_ERR_NO_MEM, CMX_ENOMEM}};

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        state_of_flash = errors[i].rc;
        assert_int_equal(cmx_nvs_init(), errors[i].err);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, all_handles_are_closed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stores_and_reads),
        TEST(creates_a_secret_once),
        TEST(keeps_what_it_cannot_read),
        TEST(names_each_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
