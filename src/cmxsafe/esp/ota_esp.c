#ifdef ESP_PLATFORM

#include "cmxsafe/esp/ota_esp.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/esp/nvs_config.h"
#include "cmxsafe/port/port.h"
#include "esp_app_desc.h"
#include "esp_ota_ops.h"
#include "esp_partition.h"

#define WHY_KEY "rollback_why" /* NVS key; its value is the reason for the last rollback */

#ifdef CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE
#define CONFIRMABLE true
#else
#define CONFIRMABLE false
#endif

static cmx_err from_esp(esp_err_t rc)
{
    switch (rc) {
    case ESP_OK:
        return CMX_OK;
    case ESP_ERR_NO_MEM:
        return CMX_ENOMEM;
    case ESP_ERR_OTA_VALIDATE_FAILED:
        return CMX_ESIG;
    case ESP_ERR_INVALID_ARG:
    case ESP_ERR_INVALID_SIZE:
        return CMX_EINVAL;
    default:
        return CMX_EIO;
    }
}

static bool is_pending(const esp_partition_t *p)
{
    esp_ota_img_states_t state;

    return esp_ota_get_state_partition(p, &state) == ESP_OK && state == ESP_OTA_IMG_PENDING_VERIFY;
}

static void note_rolled_back(struct cmx_slots_status *out)
{
    const esp_partition_t *invalid = esp_ota_get_last_invalid_partition();
    esp_app_desc_t desc;
    cmx_err err;

    if (!invalid)
        return;
    out->rolled_back = true;
    if (esp_ota_get_partition_description(invalid, &desc) == ESP_OK)
        snprintf(out->rolled_back_version, sizeof out->rolled_back_version, "%.*s", (int)sizeof desc.version,
                 desc.version);
    err = cmx_nvs_get(WHY_KEY, out->rolled_back_why, sizeof out->rolled_back_why);
    if (err)
        snprintf(out->rolled_back_why, sizeof out->rolled_back_why, "did not come up");
}

static cmx_err status(void *arg, struct cmx_slots_status *out)
{
    const esp_partition_t *running = esp_ota_get_running_partition();
    const esp_partition_t *target = esp_ota_get_next_update_partition(NULL);
    const esp_app_desc_t *desc = esp_app_get_description();

    (void)arg;
    memset(out, 0, sizeof *out);
    snprintf(out->running, sizeof out->running, "%.11s", running->label);
    if (target && target != running) {
        snprintf(out->target, sizeof out->target, "%.11s", target->label);
        out->target_size = target->size;
    }
    out->pending = is_pending(running);
    out->confirmable = CONFIRMABLE;
    snprintf(out->version, sizeof out->version, "%.*s", (int)sizeof desc->version, desc->version);
    snprintf(out->project, sizeof out->project, "%.*s", (int)sizeof desc->project_name, desc->project_name);
    out->secure_version = desc->secure_version;
    note_rolled_back(out);
    return CMX_OK;
}

static cmx_err begin(void *arg)
{
    const esp_partition_t *running = esp_ota_get_running_partition();
    cmx_err err;

    (void)arg;
    if (is_pending(running))
        return CMX_EBUSY;
    /* Selects the running partition, which cancels an update that was activated but has not booted yet. ESP-IDF puts
     * every newly selected partition on trial, even one that was confirmed before. Without a new confirmation the
     * bootloader would start the cancelled update after two resets. ESP-IDF keeps no state for the factory partition,
     * so that partition needs no confirmation. */
    if (esp_ota_get_boot_partition() == running)
        return CMX_OK;
    err = from_esp(esp_ota_set_boot_partition(running));
    if (err || running->subtype == ESP_PARTITION_SUBTYPE_APP_FACTORY)
        return err;
    return from_esp(esp_ota_mark_app_valid_cancel_rollback());
}

static cmx_err erase(void *arg, uint32_t offset, uint32_t len)
{
    (void)arg;
    cmx_port_watchdog_feed(0); /* an update may erase hundreds of sectors in a row */
    return from_esp(esp_partition_erase_range(esp_ota_get_next_update_partition(NULL), offset, len));
}

static cmx_err write(void *arg, uint32_t offset, const void *data, size_t len)
{
    (void)arg;
    return from_esp(esp_partition_write(esp_ota_get_next_update_partition(NULL), offset, data, len));
}

static cmx_err read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    return from_esp(esp_partition_read(esp_ota_get_next_update_partition(NULL), offset, out, len));
}

static cmx_err activate(void *arg, const struct cmx_image *verified, struct cmx_why *why)
{
    /* This call verifies the image as the bootloader does, including the Secure Boot signature. */
    esp_err_t rc = esp_ota_set_boot_partition(esp_ota_get_next_update_partition(NULL));

    (void)arg;
    (void)verified;
    if (rc != ESP_OK) {
        cmx_why_set(why, "ESP-IDF does not accept the image: %s", esp_err_to_name(rc));
        return from_esp(rc);
    }
    (void)!cmx_nvs_set(WHY_KEY, NULL); /* deletes the reason for the last rollback */
    return CMX_OK;
}

static cmx_err confirm(void *arg, struct cmx_why *why)
{
    (void)arg;
    (void)why;
    return from_esp(esp_ota_mark_app_valid_cancel_rollback());
}

static cmx_err rollback(void *arg, const char *reason, struct cmx_why *why)
{
    const esp_partition_t *running = esp_ota_get_running_partition();
    const esp_partition_t *other = esp_ota_get_next_update_partition(NULL);

    (void)arg;
    (void)why;
    (void)!cmx_nvs_set(WHY_KEY, reason); /* without a stored reason, the status says "did not come up" */
    if (is_pending(running))             /* a restart is enough: a pending image is not started twice */
        return esp_ota_check_rollback_is_possible() ? CMX_OK : CMX_ENOENT;
    return other && other != running && esp_ota_set_boot_partition(other) == ESP_OK ? CMX_OK : CMX_ENOENT;
}

struct cmx_slots cmx_esp_slots(void)
{
    return (struct cmx_slots){
        .status = status,
        .begin = begin,
        .erase = erase,
        .write = write,
        .read = read,
        .activate = activate,
        .confirm = confirm,
        .rollback = rollback,
    };
}

#endif
