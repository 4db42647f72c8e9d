/* relay_flow.h - moves the bytes of one connection. Every byte that is accepted from one side is delivered to the other
 * side in order, or both sides are reset (promise 4 of SECURITY.md). */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

extern const struct cmx_ssh_handlers cmx_relay_flow_handlers; /* arg: the relay */

/* Call when the local socket accepts data again: sends the waiting bytes. */
void cmx_relay_flow_drain(struct relay *x);

/* Moves data from the local socket to the gateway, until the socket is empty, the gateway accepts no more, or at least
 * CMX_RELAY_BURST bytes have moved. If it returns an error, the session must end. */
CMX_MUST_USE cmx_err cmx_relay_flow_pump(struct relay *x, struct session *s);

/* Sends the bytes of x->held, which the gateway did not accept before. If it returns an error, the session must end. */
CMX_MUST_USE cmx_err cmx_relay_flow_send_held(struct relay *x);

/* Discards all waiting bytes. */
void cmx_relay_flow_drop(struct relay *x);
