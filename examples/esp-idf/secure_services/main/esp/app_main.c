/* app_main.c - the application on an ESP32: network up, then what the virtual board starts too. Gateway, user and key
 * come from menuconfig or NVS. A camera's driver would give frames through app_door.frame; the test picture is sent
 * without one. */
#include "app.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/port/esp/device_esp.h"
#include "cmxsafe/port/esp/events.h"
#include "esp_err.h"
#include "freertos/FreeRTOS.h"
#include "freertos/task.h"
#include "protocol_examples_common.h"

#define REPORT_MS 30000

static void on_cmx(void *arg, esp_event_base_t base, int32_t id, void *data)
{
    static const char *const names[] = {"session up",    "session down", "relay open", "relay closed", "update ready",
                                        "update failed", "confirmed",    "rollback",   "relay refused"};
    const struct cmx_event_data *event = data;

    (void)arg;
    (void)base;
    cmx_log(CMX_LOG_INFO, "app", "event: %s %s", names[id], event->name);
}

void app_main(void)
{
    static const struct app_door door = {.board = CONFIG_IDF_TARGET};

    ESP_ERROR_CHECK(cmx_esp_init(NULL));
    ESP_ERROR_CHECK(esp_event_handler_register(CMX_EVENT, ESP_EVENT_ANY_ID, on_cmx, NULL));
    ESP_ERROR_CHECK(example_connect());
    ESP_ERROR_CHECK(cmx_esp_err(app_start(&door)));
    for (;;) {
        cmx_esp_log_memory();
        vTaskDelay(pdMS_TO_TICKS(REPORT_MS));
    }
}
