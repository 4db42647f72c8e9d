/* relay.h - the life of one connection, from its acceptance to the gateway's CLOSE. */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

/* Returns the free heap that a connection of r needs (proxy_limits.h). */
size_t cmx_relay_heap_floor(const struct session *s, const struct run *r);

/* For reverse contexts. Takes o, a channel that the gateway opens for r; connects it to the local service or refuses
 * it. */
void cmx_relay_accept_channel(struct session *s, struct run *r, struct cmx_ssh_open *o);

/* For direct contexts. Takes fd, which r's listener accepted from peer; opens a channel for it or closes it. */
void cmx_relay_accept_local(struct session *s, struct run *r, int fd, const struct sockaddr_storage *peer);

/* Returns the poll events to wait for on the local socket; 0: none. */
short cmx_relay_events(const struct relay *x, const struct session *s);

/* Handles poll events of the local socket. An error ends the session. */
CMX_MUST_USE cmx_err cmx_relay_ready(struct relay *x, struct session *s, short revents);

/* Does what can be done without waiting. An error ends the session. */
CMX_MUST_USE cmx_err cmx_relay_settle(struct relay *x, struct session *s);

/* Returns the time at which settle has something to do even without an event; UINT64_MAX: never. */
uint64_t cmx_relay_due(const struct relay *x, const struct session *s);

/* Ends both sides at once, the local one with a reset. cause: for the hook. The relay may still wait for the gateway.
 */
void cmx_relay_abort(struct relay *x, struct session *s, cmx_err cause);

/* Like cmx_relay_abort, but does not wait for the gateway, because the session has ended. */
void cmx_relay_kill(struct relay *x, struct session *s, cmx_err cause);
