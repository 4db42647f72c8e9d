/* settings.h - what a device must know to reach its gateway. Edit the lines below, or put a settings.h of your own
 * beside the sketch: one of the original CMXsafe-ESP32 works as it is, and lacks only SSH_HOST_KEY, without which the
 * device does not connect. Every macro with its meaning and default: cmxsafe/device/defaults.h. */
#ifndef CMX_SETTINGS_H
#define CMX_SETTINGS_H

/*
#define SSH_REMOTE_HOST "gateway.example"
#define SSH_REMOTE_PORT 22
#define SSH_HOST_KEY "SHA256:what ssh-keygen -lf ssh_host_ed25519_key.pub prints at the gateway"
#define USERNAME1 "camera-1"
#define SSH_CLIENT_KEY_DERIVED 1
*/

#include "cmxsafe/device/defaults.h"

#endif
