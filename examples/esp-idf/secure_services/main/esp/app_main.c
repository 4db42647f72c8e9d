/* app_main.c - the application on an ESP32: brings the network up, then starts the application as the virtual board
 * does. Gateway, user and key come from menuconfig or NVS. A camera driver would provide frames through app_door.frame.
 * This file has no driver, so the test picture is sent. */
#include "app.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/esp/device_esp.h"
#include "cmxsafe/esp/events_esp.h"
#include "esp_err.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "freertos/task.h"
#include "protocol_examples_common.h"

#define REPORT_MS 30000
#define EVENTS 8

struct seen {
    int32_t id;
    struct cmx_event_data data;
};

static QueueHandle_t events;

/* Runs in the event loop's task (sys_evt), whose stack of 2,304 bytes is too small for printing: app_main prints. */
static void on_cmx(void *arg, esp_event_base_t base, int32_t id, void *data)
{
    const struct seen e = {.id = id, .data = *(const struct cmx_event_data *)data};

    (void)arg;
    (void)base;
    (void)xQueueSend(events, &e, 0); /* if the queue is full, this event is lost */
}

static void print_event(const struct seen *e)
{
    static const char *const names[] = {"session up",    "session down", "relay open", "relay closed", "update ready",
                                        "update failed", "confirmed",    "rollback",   "relay refused"};

    cmx_log(CMX_LOG_INFO, "app", "event: %s %s", names[e->id], e->data.name);
}

void app_main(void)
{
    static const struct app_door door = {.board = CONFIG_IDF_TARGET};
    struct seen e;

    events = xQueueCreate(EVENTS, sizeof(struct seen));
    ESP_ERROR_CHECK(events ? ESP_OK : ESP_ERR_NO_MEM);
    ESP_ERROR_CHECK(cmx_esp_init(NULL));
    ESP_ERROR_CHECK(esp_event_handler_register(CMX_EVENT, ESP_EVENT_ANY_ID, on_cmx, NULL));
    ESP_ERROR_CHECK(example_connect());
    ESP_ERROR_CHECK(cmx_esp_err(app_start(&door)));
    for (;;) {
        if (xQueueReceive(events, &e, pdMS_TO_TICKS(REPORT_MS)))
            print_event(&e);
        else
            cmx_esp_log_memory();
    }
}
