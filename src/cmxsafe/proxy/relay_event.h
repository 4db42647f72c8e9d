/* relay_event.h - reports connections to the relay hook, if there is one. */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

void cmx_relay_event_opened(struct relay *x, struct session *s);
/* Reports the end of the relay's connection. Does nothing if the relay was never open or its end has been reported. */
void cmx_relay_event_closed(struct relay *x, struct session *s, cmx_err cause);
/* Reports and counts a refused connection. r is NULL if no context has the port to which the client connected. */
void cmx_relay_event_refused(struct session *s, struct run *r, const char *from, cmx_err cause);
