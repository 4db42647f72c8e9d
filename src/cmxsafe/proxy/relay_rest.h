/* relay_rest.h - removes idle relays from the event loop. A relay through which nothing has passed for
 * CMX_RELAY_REST_MS rests: it leaves the poll set and the list that each turn of the session's loop walks. One
 * descriptor (cmx_port_set_open) watches the local sockets of all resting relays. Thus idle connections use memory, but
 * no CPU time.
 *
 * A relay stirs, that is, stops resting, when its local socket is readable or the gateway sends something for it. It
 * returns to the list before the loop next serves the relays. Only an open relay without waiting bytes and without an
 * idle timeout can rest. */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

/* Moves all relays that can rest out of the list. Call this after cmx_relay_settle has been called for all relays. */
void cmx_relay_rest_begin(struct session *s);
/* Call when s->rest_set is readable: adds the relays whose local socket is readable to s->stirred. */
void cmx_relay_rest_ready(struct session *s);
/* Puts the relays of s->stirred back into the list. */
void cmx_relay_rest_end(struct session *s);
/* Puts all resting relays back into the list. */
void cmx_relay_rest_end_all(struct session *s);
