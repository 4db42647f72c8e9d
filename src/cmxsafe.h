/* cmxsafe.h - the public header, for a sketch in C or C++:
 *
 *     #include "settings.h"
 *     #include "cmxsafe.h"
 *     #include "fw_ports.h"
 *     ...
 *     xTaskCreatePinnedToCore(ssh_port_forwarding_task, "SSH Port Forwarding Task", 10500, &streamPort, 5, NULL, 1);
 *
 * with TaskParameters streamPort = { .local_port = 81, .forward_remote_port = 81, .high_bw = true };
 * The other modules: sm.h (isolation), ota.h, remoteAttest.h. */
#pragma once

#include <string.h>

#include "freertos/FreeRTOS.h"
#include "freertos/task.h"

#include "cmxsafe/device/device.h"
#include "cmxsafe/proxy/peer.h" /* cmx_peer */
#include "settings.h"

#if defined(ARDUINO) && defined(ESP_PLATFORM)
#include "libssh_esp32.h" /* this include makes the Arduino builder use the library LibSSH-ESP32 */
#endif

#include "cmxsafe/device/defaults.h" /* defines the macros that the sketch's settings.h does not define */

/* Sketches for the original CMXsafe-ESP32 call xTaskCreatePinnedToCore with core 1. Chips with one core (S2, C3, C6,
 * H2) have no core 1, so this macro drops the argument `core`. */
#if defined(ESP_PLATFORM) && portNUM_PROCESSORS == 1
#define xTaskCreatePinnedToCore(fn, name, stack, arg, priority, handle, core)                                          \
    xTaskCreate(fn, name, stack, arg, priority, handle)
#endif

#define CMX_TEXT_OF(x) #x
#define CMX_TEXT(x) CMX_TEXT_OF(x)

/* Copies the values of this translation unit's macros into *s. A macro in CMXsafe-ESP32's settings.h may end with a
 * semicolon. Such a macro must therefore be the last token of its assignment, or be passed through CMX_TEXT. */
static inline void cmx_settings_capture(struct cmx_settings *s)
{
    static const char *const host_keys[] = {SSH_HOST_KEY};

    memset(s, 0, sizeof *s);
    s->host_keys = host_keys;
    s->n_host_keys = sizeof host_keys / sizeof host_keys[0];
    s->remote_host = SSH_REMOTE_HOST;
    s->remote_port = SSH_REMOTE_PORT;
    s->username = USERNAME1;
    s->password = PASSWORD1;
    s->client_key = SSH_CLIENT_KEY;
    s->client_key_file = SSH_CLIENT_KEY_FILE;
    s->client_key_passphrase = SSH_CLIENT_KEY_PASSPHRASE;
    s->client_key_derived = SSH_CLIENT_KEY_DERIVED;
    s->local_host = SSH_LOCAL_HOST;
    s->remote_address = SSH_REMOTE_ADDRESS;
    s->timeout_s = TIMEOUT_SECONDS;
    s->keepalive_s = SSH_KEEPALIVE_SECONDS;
    s->verbosity = CMX_TEXT(VERBOSITY);
    s->multichannel = SSHMULTICHANNEL;
    s->ciphers = SSH_CIPHERS;
    s->require_pq = SSH_REQUIRE_PQ;
    s->task_stack = SSH_TASK_STACK;
    s->ota_public_key = OTA_PUBLIC_KEY;
}

/* Task function. parameter points to a TaskParameters, which must stay valid. Starts the proxy for that context and
 * ends the calling task. The session runs in a task of its own. Errors are logged. */
static inline void ssh_port_forwarding_task(void *parameter)
{
    struct cmx_settings settings;
    cmx_err err;

    cmx_settings_capture(&settings);
    err = cmx_device_forward(&settings, (const TaskParameters *)parameter);
    (void)err; /* cmx_device_forward has logged the error, and a task cannot return one */
    vTaskDelete(NULL);
}
