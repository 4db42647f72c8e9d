/* session_request.h - sends global requests, one at a time (RFC 4254 sections 4 and 7.1): requests and cancels
 * forwards, and sends keepalives. Also opens the listeners of direct contexts. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Sends and continues requests as far as possible without waiting. If it returns an error, the session must end;
 * CMX_ETIMEOUT: the gateway does not answer. */
CMX_MUST_USE cmx_err cmx_session_request_step(struct session *s);
