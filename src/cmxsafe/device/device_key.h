/* device_key.h - chooses the key that a device logs in with when its settings name no other credential: the key derived
 * from the hardware key, or, on a chip without a hardware key, the key that the device generated at its first start. */
#pragma once

#include "cmxsafe/device/device_settings.h"
#include "cmxsafe/proxy/context.h"

/* Sets g->key_load and g->want_session_id. The other credentials of g must already be set from the settings. One caller
 * at a time. */
void cmx_device_key_choose(const struct cmx_settings *settings, struct cmx_gateway *g);

/* Logs the public half and the fingerprint of the key that cmx_device_key_choose chose for g, once, from a task of its
 * own: computing the public half needs more stack than the caller might have. Does nothing if it chose
 * none. */
void cmx_device_key_announce(const struct cmx_gateway *g);
