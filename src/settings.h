/* settings.h - defines how the device reaches its gateway. Edit the lines below, or put your own settings.h beside the
 * sketch. The settings.h of the original CMXsafe-ESP32 works once SSH_HOST_KEY is added: without it the device does not
 * connect. cmxsafe/device/defaults.h lists every macro with its meaning and default. */
#pragma once

/*
#define SSH_REMOTE_HOST "gateway.example"
#define SSH_REMOTE_PORT 22
#define SSH_HOST_KEY "SHA256:what ssh-keygen -lf ssh_host_ed25519_key.pub prints on the gateway"
#define USERNAME1 "camera-1"
#define SSH_CLIENT_KEY_DERIVED 1
*/

#include "cmxsafe/device/defaults.h"
