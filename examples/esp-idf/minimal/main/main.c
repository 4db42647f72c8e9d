/* Serves one page that is reachable only through the gateway: run curl http://127.0.0.1:8080/ on the gateway. The
 * gateway, user and key are set in idf.py menuconfig or NVS. */
#include "cmxsafe.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/esp/device_esp.h"
#include "cmxsafe/http/http.h"
#include "esp_err.h"
#include "protocol_examples_common.h"

static cmx_err hello(struct cmx_http_request *r, void *ctx, void **state)
{
    (void)ctx;
    (void)state;
    return cmx_http_reply_text(r, 200, "hello from the device\n");
}

static const struct cmx_http_route routes[] = {{.method = "GET", .path = "/", .begin = hello}};
static const struct cmx_http_service page = {.name = "page", .port = 80, .routes = routes, .n_routes = 1};

static const TaskParameters webPort = {.local_port = 80, .forward_remote_port = 8080, .name = "web"};

void app_main(void)
{
    struct cmx_http_server *server;

    ESP_ERROR_CHECK(cmx_esp_init(NULL));
    ESP_ERROR_CHECK(cmx_http_serve(&page, &server) == CMX_OK ? ESP_OK : ESP_FAIL);
    ESP_ERROR_CHECK(example_connect()); /* Wi-Fi or Ethernet, as chosen in menuconfig */
    /* The log has the reason, usually a missing gateway or host key. A restart would not help. */
    if (cmx_esp_forward(&webPort) != ESP_OK)
        cmx_log(CMX_LOG_ERROR, "app",
                "the page is not reachable: set the gateway, its host key and the login in `idf.py menuconfig`, menu "
                "cmxsafe");
    for (;;) {
        cmx_esp_log_memory();
        vTaskDelay(pdMS_TO_TICKS(60000));
    }
}
