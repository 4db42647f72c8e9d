/* session_serve.h - the event loop of a live session: waits for the SSH socket, the local sockets and the next timer.
 */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* Returns when the session has ended; CMX_OK if it was asked to stop. */
CMX_MUST_USE cmx_err cmx_session_serve(struct session *s);

/* Takes new contexts in, and frees removed ones that are no longer in use. */
void cmx_session_serve_update(struct session *s);

/* Call after serve, or after a failed login: ends all relays and closes the local listeners. cause: for the hook. */
void cmx_session_serve_end(struct session *s, cmx_err cause);
