/* session_gateway.h - which gateway a session tries. All sessions of an engine use the same one, because at a fleet of
 * gateways the device's identity belongs to one of them. If a session repeatedly fails to connect to that gateway while
 * other sessions are up there, it tries the other gateways; once it has logged in to one of them, all sessions move to
 * that one. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* True for errors that last until a person acts: a wrong host key or credential. */
bool cmx_session_needs_person(cmx_err err);

/* Chooses the engine's first gateway. No session may be up. */
void cmx_session_gateway_begin(struct engine *e, const struct cmx_proxy_config *config);

/* Chooses the gateway for a new configuration: the gateway in use stays, if the new list has it. */
void cmx_session_gateway_change(struct engine *e, const struct cmx_proxy_config *config,
                                const struct cmx_proxy_config *old);

/* Call before an attempt: chooses the gateway for s, which is the engine's unless s is searching for another one. */
void cmx_session_gateway_enter(struct session *s);

/* Call after the login. CMX_EBUSY: other sessions of the device are up at another gateway; this one must end. */
CMX_MUST_USE cmx_err cmx_session_gateway_join(struct session *s);

/* True if the device has moved to another gateway, so that this session must end. */
bool cmx_session_gateway_left(struct session *s);

/* Call when a session for which cmx_session_gateway_join returned CMX_OK has ended. */
void cmx_session_gateway_leave(struct session *s);

/* Call when the attempt or the session has ended with err: moves on to the next address of the name, or to the next
 * gateway. A gateway whose session lasted is first tried once more, unless the session ended with a timeout. True:
 * nothing is left to try in this round. */
bool cmx_session_gateway_failed(struct session *s, cmx_err err);
