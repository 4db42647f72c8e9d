// SecureCamera - a camera whose stream is reachable only through the gateway.
// Board: ESP32-S3 with PSRAM and an OV2640, such as the Freenove ESP32-S3-WROOM CAM; change the pins below for other boards.
// Core: esp32 by Espressif Systems, 3.0 or later. Library: LibSSH-ESP32, 5.4 or later.
// Partition scheme: one with two application slots, such as "8M with spiffs (3MB APP/1.5MB SPIFFS)".
// To view the stream, open http://127.0.0.1:81/stream on the gateway.

#include <WiFi.h>

#include "esp_camera.h"
#include "esp_http_server.h"

#include "settings.h"
#include "cmxsafe.h"
#include "fw_ports.h"
#include "sm.h"
#include "ota.h"
#include "remoteAttest.h"

TaskParameters streamPort = {
    .local_port = 81,
    .forward_remote_port = 81,
    .high_bw = true,
};

static const camera_config_t camera = {
    .pin_pwdn = -1,
    .pin_reset = -1,
    .pin_xclk = 15,
    .pin_sccb_sda = 4,
    .pin_sccb_scl = 5,
    .pin_d7 = 16,
    .pin_d6 = 17,
    .pin_d5 = 18,
    .pin_d4 = 12,
    .pin_d3 = 10,
    .pin_d2 = 8,
    .pin_d1 = 9,
    .pin_d0 = 11,
    .pin_vsync = 6,
    .pin_href = 7,
    .pin_pclk = 13,
    .xclk_freq_hz = 20000000,
    .ledc_timer = LEDC_TIMER_0,
    .ledc_channel = LEDC_CHANNEL_0,
    .pixel_format = PIXFORMAT_JPEG,
    .frame_size = FRAMESIZE_VGA,
    .jpeg_quality = 12,
    .fb_count = 2,
    .fb_location = CAMERA_FB_IN_PSRAM,
    .grab_mode = CAMERA_GRAB_LATEST,
    .sccb_i2c_port = -1,
};

static esp_err_t sendFrame(httpd_req_t *request, camera_fb_t *frame) {
  char head[96];
  int len = snprintf(head, sizeof(head), "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %u\r\n\r\n", (unsigned)frame->len);
  esp_err_t rc = httpd_resp_send_chunk(request, head, len);
  if (rc == ESP_OK) {
    rc = httpd_resp_send_chunk(request, (const char *)frame->buf, frame->len);
  }
  if (rc == ESP_OK) {
    rc = httpd_resp_send_chunk(request, "\r\n", 2);
  }
  return rc;
}

static esp_err_t streamHandler(httpd_req_t *request) {
  esp_err_t rc = httpd_resp_set_type(request, "multipart/x-mixed-replace;boundary=frame");
  while (rc == ESP_OK) {
    camera_fb_t *frame = esp_camera_fb_get();
    if (!frame) {
      return ESP_FAIL;
    }
    rc = sendFrame(request, frame);
    esp_camera_fb_return(frame);
  }
  return rc;
}

static void startCameraServer() {
  static const httpd_uri_t stream = {.uri = "/stream", .method = HTTP_GET, .handler = streamHandler, .user_ctx = NULL};
  httpd_config_t config = HTTPD_DEFAULT_CONFIG();
  httpd_handle_t server = NULL;
  config.server_port = 81;
  config.ctrl_port = 32773;  // isolation permits ports 32770 to 32773 (CONFIG_CMX_HTTP_CTRL_PORT and the next three)
  if (httpd_start(&server, &config) == ESP_OK) {
    httpd_register_uri_handler(server, &stream);
  }
}

void setup() {
  Serial.begin(115200);
  esp_log_level_set("*", ESP_LOG_INFO);  // the core's default level hides cmxsafe's log
  ESP_ERROR_CHECK(esp_camera_init(&camera));

  WiFi.begin(WIFI_SSID, WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) {
    delay(500);
  }

  startCameraServer();
  xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task", 10500, &streamPort, 5, NULL, 1);

  setup_sm();

  xTaskCreatePinnedToCore(setup_ota, "setup ota", 16384, NULL, 0, NULL, 1);
  xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task3", 10500, &otaPort, 5, NULL, 1);

  int paramAttest = 0;
  remoteAttest::setup_remoteAttest(&paramAttest);
  xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task4", 10500, &attestationPort, 5, NULL, 1);
}

void loop() {
  delay(1000);
}
