/* The slots of an ESP32. The functions below replace ESP-IDF's and set the same states: an image whose partition is
 * selected for the next start is on trial. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ESP_PLATFORM
#define CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE 1
#include "cmxsafe/esp/ota_esp.c"

static const esp_partition_t factory = {ESP_PARTITION_SUBTYPE_APP_FACTORY, 65536, "factory"};
static const esp_partition_t ota_0 = {ESP_PARTITION_SUBTYPE_APP_OTA_0, 65536, "ota_0"};
static const esp_partition_t ota_1 = {ESP_PARTITION_SUBTYPE_APP_OTA_1, 65536, "ota_1"};
static const esp_partition_t *running, *selected; /* selected: starts next */
static unsigned selections;                       /* calls of esp_ota_set_boot_partition */
static esp_err_t select_result;
static char reason[32];                /* reason of the last rollback, in NVS */
static esp_ota_img_states_t states[2]; /* of ota_0 and ota_1 */

static esp_ota_img_states_t *state_of(const esp_partition_t *p)
{
    return &states[p->subtype - ESP_PARTITION_SUBTYPE_APP_OTA_0];
}

/* A reset, as the bootloader handles it: an image on trial that was not confirmed does not start again. */
static void reset(void)
{
    const esp_partition_t *other = selected == &ota_0 ? &ota_1 : &ota_0;

    if (selected != &factory && *state_of(selected) == ESP_OTA_IMG_PENDING_VERIFY) {
        *state_of(selected) = ESP_OTA_IMG_ABORTED;
        selected = other;
    }
    if (selected != &factory && *state_of(selected) == ESP_OTA_IMG_NEW)
        *state_of(selected) = ESP_OTA_IMG_PENDING_VERIFY;
    running = selected;
}

const char *esp_err_to_name(esp_err_t rc)
{
    return rc ? "error" : "ESP_OK";
}

const esp_app_desc_t *esp_app_get_description(void)
{
    static const esp_app_desc_t desc = {.version = "1.0.0", .project_name = "test"};

    return &desc;
}

const esp_partition_t *esp_ota_get_running_partition(void)
{
    return running;
}

const esp_partition_t *esp_ota_get_boot_partition(void)
{
    return selected;
}

const esp_partition_t *esp_ota_get_next_update_partition(const esp_partition_t *from)
{
    assert_null(from);
    return running == &ota_0 ? &ota_1 : &ota_0;
}

const esp_partition_t *esp_ota_get_last_invalid_partition(void)
{
    return NULL;
}

esp_err_t esp_ota_get_partition_description(const esp_partition_t *p, esp_app_desc_t *out)
{
    (void)p;
    *out = *esp_app_get_description();
    return ESP_OK;
}

esp_err_t esp_ota_get_state_partition(const esp_partition_t *p, esp_ota_img_states_t *out)
{
    if (p == &factory)
        return ESP_ERR_NOT_FOUND;
    *out = *state_of(p);
    return ESP_OK;
}

esp_err_t esp_ota_set_boot_partition(const esp_partition_t *p)
{
    selections++;
    if (select_result != ESP_OK)
        return select_result;
    selected = p;
    if (p != &factory)
        *state_of(p) = ESP_OTA_IMG_NEW;
    return ESP_OK;
}

esp_err_t esp_ota_mark_app_valid_cancel_rollback(void)
{
    if (selected == &factory)
        return ESP_FAIL;
    *state_of(selected) = ESP_OTA_IMG_VALID;
    return ESP_OK;
}

bool esp_ota_check_rollback_is_possible(void)
{
    return true;
}

esp_err_t esp_partition_erase_range(const esp_partition_t *p, size_t offset, size_t len)
{
    (void)offset;
    (void)len;
    return p == running ? ESP_ERR_INVALID_ARG : ESP_OK;
}

esp_err_t esp_partition_write(const esp_partition_t *p, size_t offset, const void *data, size_t len)
{
    (void)data;
    return esp_partition_erase_range(p, offset, len);
}

esp_err_t esp_partition_read(const esp_partition_t *p, size_t offset, void *out, size_t len)
{
    memset(out, 0, len);
    return esp_partition_erase_range(p, offset, len);
}

cmx_err cmx_nvs_get(const char *key, char *out, size_t cap)
{
    (void)key;
    (void)out;
    (void)cap;
    return CMX_ENOENT;
}

cmx_err cmx_nvs_set(const char *key, const char *value)
{
    assert_string_equal(key, WHY_KEY);
    snprintf(reason, sizeof reason, "%s", value ? value : "");
    return CMX_OK;
}

static void start(const esp_partition_t *p)
{
    running = selected = p;
    selections = 0;
    states[0] = states[1] = ESP_OTA_IMG_UNDEFINED;
    if (p != &factory)
        *state_of(p) = ESP_OTA_IMG_VALID;
}

/* An update that was activated is cancelled by the next one. From then on no reset starts it, and the running image,
 * which was confirmed, is not on trial again. */
static void a_new_update_cancels_the_last_one(void **state)
{
    const esp_partition_t *const places[] = {&ota_0, &ota_1, &factory};
    const struct cmx_slots slots = cmx_esp_slots();
    struct cmx_slots_status status;
    struct cmx_why why = {""};

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        start(places[i]);
        assert_int_equal(slots.begin(slots.arg), CMX_OK);
        assert_int_equal(selections, 0); /* nothing to cancel; a selection would write to the flash */
        strcpy(reason, "the last rollback's");
        assert_int_equal(slots.activate(slots.arg, NULL, &why), CMX_OK);
        assert_string_equal(reason, "");
        assert_ptr_not_equal(selected, places[i]);
        select_result = ESP_ERR_OTA_VALIDATE_FAILED;
        assert_int_equal(slots.begin(slots.arg), CMX_ESIG);
        select_result = ESP_OK;
        assert_int_equal(slots.begin(slots.arg), CMX_OK);
        for (int resets = 0; resets < 3; resets++) {
            assert_ptr_equal(selected, places[i]);
            assert_int_equal(slots.status(slots.arg, &status), CMX_OK);
            assert_false(status.pending);
            reset();
            assert_ptr_equal(running, places[i]);
        }
    }
}

/* A new image is on trial until it is confirmed; until then no update begins. */
static void a_new_image_is_on_trial(void **state)
{
    const struct cmx_slots slots = cmx_esp_slots();
    struct cmx_slots_status status;
    struct cmx_why why = {""};

    (void)state;
    for (int confirmed = 0; confirmed < 2; confirmed++) {
        start(&ota_0);
        assert_int_equal(slots.activate(slots.arg, NULL, &why), CMX_OK);
        reset();
        assert_ptr_equal(running, &ota_1);
        assert_int_equal(slots.status(slots.arg, &status), CMX_OK);
        assert_true(status.pending && status.confirmable);
        assert_int_equal(slots.begin(slots.arg), CMX_EBUSY);
        if (confirmed)
            assert_int_equal(slots.confirm(slots.arg, &why), CMX_OK);
        else
            assert_int_equal(slots.rollback(slots.arg, "no gateway", &why), CMX_OK);
        assert_string_equal(reason, confirmed ? "" : "no gateway");
        reset();
        assert_ptr_equal(running, confirmed ? &ota_1 : &ota_0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_update_cancels_the_last_one),
        cmocka_unit_test(a_new_image_is_on_trial),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
