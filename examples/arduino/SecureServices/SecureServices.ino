// SecureServices - a web page, firmware update and attestation, reachable only through the gateway.
// Board: any ESP32 with Wi-Fi. The first ESP32 has no HMAC peripheral: attestation needs an S2, S3, C3, C5 or C6.
// Core: esp32 by Espressif Systems, 3.0 or later. Library: LibSSH-ESP32, 5.4 or later.
// Partition scheme: "Minimal SPIFFS (1.9MB APP with OTA)", or another with two application slots of 1.9 MB or more.
// On the gateway, run:
//   curl http://127.0.0.1:8080/
//   curl -X POST -F "update=@firmware.bin" http://127.0.0.1:8989/update
//   curl "http://127.0.0.1:8888/hash?challenge=string_to_use_as_challenge"

#include <WebServer.h>
#include <WiFi.h>

#include "settings.h"
#include "cmxsafe.h"
#include "fw_ports.h"
#include "sm.h"
#include "ota.h"
#include "remoteAttest.h"

TaskParameters webPort = {
    .local_port = 80,
    .forward_remote_port = 8080,
    .high_bw = false,
};

WebServer server(80);

void setup() {
  Serial.begin(115200);
  esp_log_level_set("*", ESP_LOG_INFO);  // the core's default level hides cmxsafe's log

  WiFi.begin(WIFI_SSID, WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) {
    delay(500);
  }

  server.on("/", []() {
    server.send(200, "text/plain", "hello from the device\n");
  });
  server.begin();

  xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task", 10500, &webPort, 5, NULL, 1);

  xTaskCreatePinnedToCore(setup_ota, "setup ota", 16384, NULL, 0, NULL, 1);
  xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task3", 10500, &otaPort, 5, NULL, 1);

  int paramAttest = 0;
  remoteAttest::setup_remoteAttest(&paramAttest);
  xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task4", 10500, &attestationPort, 5, NULL, 1);

  setup_sm();
}

void loop() {
  server.handleClient();
  delay(2);
}
