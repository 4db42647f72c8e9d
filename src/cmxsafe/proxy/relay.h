/* relay.h - the life of one connection, from its acceptance to the gateway's CLOSE. */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

/* For reverse contexts: handles o, the gateway's request to open a channel for r. Connects it to the local service or
 * refuses it; consumes o. */
void cmx_relay_accept_channel(struct session *s, struct run *r, cmx_ssh_open *o);

/* For direct contexts: handles fd, a connection that r's listener accepted from peer. Opens a channel for it or refuses
 * it; takes ownership of fd. */
void cmx_relay_accept_local(struct session *s, struct run *r, int fd, const struct sockaddr_storage *peer);

/* Updates s->bulk and engine->bulk. Call before each wait, and when the last relay has ended. */
void cmx_relay_count_bulk(struct session *s);

/* Returns the poll events to wait for on the local socket; 0: none. */
short cmx_relay_events(const struct relay *x, const struct session *s);

/* Handles poll events of the local socket. If it returns an error, the session must end. */
CMX_MUST_USE cmx_err cmx_relay_ready(struct relay *x, struct session *s, short revents);

/* Advances the relay as far as possible without waiting. If it returns an error, the session must end. */
CMX_MUST_USE cmx_err cmx_relay_settle(struct relay *x, struct session *s);

/* Ends both sides immediately; the local socket is closed with a reset. cause: reported to the relay hook. The relay
 * may remain until the gateway's CLOSE. */
void cmx_relay_abort(struct relay *x, struct session *s, cmx_err cause);

/* Like cmx_relay_abort, but the relay does not wait for the gateway. Call this when the session has ended. */
void cmx_relay_kill(struct relay *x, struct session *s, cmx_err cause);
