/* relay_flow.h - the bytes of one connection. Every byte accepted is delivered in order, or the relay is reset
 * (promise 4 of SECURITY.md). */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

extern const struct cmx_ssh_handlers cmx_relay_flow_handlers; /* arg: the relay */

/* Call when the local socket accepts data again: sends the waiting bytes. */
void cmx_relay_flow_drain(struct relay *x);

/* Moves one chunk from the local socket to the gateway. An error ends the session. */
CMX_MUST_USE cmx_err cmx_relay_flow_pump(struct relay *x, struct session *s);

/* Sends what the gateway did not take before. An error ends the session. */
CMX_MUST_USE cmx_err cmx_relay_flow_send_held(struct relay *x);

/* Discards all waiting bytes. */
void cmx_relay_flow_drop(struct relay *x);
