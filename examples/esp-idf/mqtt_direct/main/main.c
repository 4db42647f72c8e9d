/* An MQTT client without TLS. It connects to a port on the device's own loopback; a direct context forwards this
 * connection through the SSH session to the gateway, which connects to the broker. With isolation in force, the
 * device's data leaves it only in the SSH session. */
#include <stdio.h>

#include "cmxsafe.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/esp/device_esp.h"
#include "esp_err.h"
#include "mqtt_client.h"
#include "protocol_examples_common.h"
#include "sm.h"

#define LOCAL_PORT 1883
#define INTERVAL_MS 5000

static const TaskParameters brokerPort = {
    .local_port = LOCAL_PORT,
    .forward_remote_port = CONFIG_MQTT_BROKER_PORT,
    .direction = CMX_TASK_DIRECT,
    .remote_host = CONFIG_MQTT_BROKER,
    .name = "broker",
};

static void on_mqtt(void *arg, esp_event_base_t base, int32_t id, void *data)
{
    (void)arg;
    (void)base;
    (void)data;
    if (id == MQTT_EVENT_CONNECTED)
        cmx_log(CMX_LOG_INFO, "mqtt", "connected to the broker");
    else if (id == MQTT_EVENT_DISCONNECTED)
        cmx_log(CMX_LOG_WARN, "mqtt", "disconnected from the broker; the client tries again");
}

static esp_mqtt_client_handle_t start_client(void)
{
    const esp_mqtt_client_config_t config = {
        .broker.address.hostname = "127.0.0.1",
        .broker.address.port = LOCAL_PORT,
        .broker.address.transport = MQTT_TRANSPORT_OVER_TCP,
    };
    esp_mqtt_client_handle_t client = esp_mqtt_client_init(&config);

    ESP_ERROR_CHECK(esp_mqtt_client_register_event(client, MQTT_EVENT_ANY, on_mqtt, NULL));
    ESP_ERROR_CHECK(esp_mqtt_client_start(client));
    return client;
}

void app_main(void)
{
    esp_mqtt_client_handle_t client;

    ESP_ERROR_CHECK(cmx_esp_init(NULL));
    ESP_ERROR_CHECK(example_connect());
    setup_sm(); /* from now on data leaves the device only in the SSH session */
    if (cmx_esp_forward(&brokerPort) != ESP_OK) {
        /* The log has the reason, usually a missing gateway or host key. A restart would not help; the device stays
         * isolated. */
        cmx_log(CMX_LOG_ERROR, "app",
                "the broker is not reachable: set the gateway, its host key and the login in `idf.py menuconfig`, menu "
                "cmxsafe");
        return;
    }
    client = start_client();
    for (unsigned n = 0;; n++) {
        char text[32];
        int len = snprintf(text, sizeof text, "%u", n);

        /* The client queues messages while the broker is away, until its buffer is full. */
        (void)esp_mqtt_client_enqueue(client, "cmxsafe/counter", text, len, 1, 0, true);
        vTaskDelay(pdMS_TO_TICKS(INTERVAL_MS));
    }
}
