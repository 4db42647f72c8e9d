/* relay_rest.h - relays at rest. A relay through which nothing has passed for CMX_RELAY_REST_MS leaves the session's
 * list of relays, which each turn of its loop walks, and the poll set: one descriptor (cmx_port_set_open) watches the
 * local sockets of all relays at rest. Thus idle connections cost memory, but no time.
 *
 * A relay stirs, that is, stops resting, when its local socket is readable or the gateway sends something for it. It is
 * back in the list before the loop next serves the relays. Only an open relay without waiting bytes and without an idle
 * timeout rests. */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

/* Lets all relays that may rest do so. Call it after they have settled. */
void cmx_relay_rest_begin(struct session *s);
/* Call when s->rest_set is readable: stirs the relays whose local socket is readable. */
void cmx_relay_rest_ready(struct session *s);
/* Puts the relays that have stirred back into the list. */
void cmx_relay_rest_end(struct session *s);
/* Puts all relays at rest back into the list. */
void cmx_relay_rest_end_all(struct session *s);
