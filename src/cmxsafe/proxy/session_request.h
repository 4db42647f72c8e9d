/* session_request.h - global requests, one at a time (RFC 4254 sections 4 and 7.1): requests and cancels forwards,
 * opens the listeners of direct contexts, sends keepalives. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Does what can be done without waiting. An error ends the session; CMX_ETIMEOUT: the gateway is dead. */
CMX_MUST_USE cmx_err cmx_session_request_step(struct session *s);

/* Returns the time at which the next request or keepalive is due. */
uint64_t cmx_session_request_due(const struct session *s);
