/* session_gateway.h - chooses the gateway that a session tries. All sessions of an engine use the same gateway: in a
 * fleet, only one gateway at a time holds the device's identity. If a session repeatedly fails to connect to that
 * gateway although other sessions are connected to it, the session tries the other gateways. When it has logged in to
 * one of them, all sessions move to that gateway. */
#pragma once

#include "cmxsafe/proxy/session_state.h"

/* True for errors that last until a person acts: a wrong host key or credential. */
bool cmx_session_needs_person(cmx_err err);

/* Chooses the engine's first gateway. Call it only while no session is up. */
void cmx_session_gateway_begin(struct engine *e, const struct cmx_proxy_config *config);

/* Chooses the gateway for a new configuration: the gateway in use if the new list contains it, otherwise a new first
 * gateway. */
void cmx_session_gateway_change(struct engine *e, const struct cmx_proxy_config *config,
                                const struct cmx_proxy_config *old);

/* Call before an attempt: chooses the gateway for s. This is the engine's gateway, unless s is trying the other
 * gateways. */
void cmx_session_gateway_enter(struct session *s);

/* Call after the login. CMX_EBUSY: other sessions of the device are up on another gateway, so s must end. */
CMX_MUST_USE cmx_err cmx_session_gateway_join(struct session *s);

/* True if the device has moved to another gateway, so that s must end. */
bool cmx_session_gateway_left(struct session *s);

/* Call when a session for which cmx_session_gateway_join returned CMX_OK has ended. */
void cmx_session_gateway_leave(struct session *s);

/* Call when the attempt or the session has ended with err: moves on to the next address of the gateway's name, or to
 * the next gateway. A gateway whose session lasted is first tried once more, unless the session ended with
 * CMX_ETIMEOUT. Returns true if no gateway is left to try in this round. */
bool cmx_session_gateway_failed(struct session *s, cmx_err err);
