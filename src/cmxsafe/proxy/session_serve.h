/* session_serve.h - runs the event loop of a live session, which waits for the SSH socket, the local sockets and
 * timers. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Runs until the session must end. Returns CMX_OK if s->stop was set, otherwise the cause. */
CMX_MUST_USE cmx_err cmx_session_serve(struct session *s);

/* Moves new contexts from s->arrivals to s->runs, ends removed contexts, and frees those that are no longer in use. */
void cmx_session_serve_update(struct session *s);

/* Call after cmx_session_serve or after a failed login: ends all relays and closes the local listeners. cause: reported
 * to the relay hook. */
void cmx_session_serve_end(struct session *s, cmx_err cause);
