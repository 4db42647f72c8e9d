/* relay_event.h - reports connections to the relay hook, if there is one. */
#pragma once

#include "cmxsafe/proxy/relay_state.h"

void cmx_relay_event_opened(struct relay *x, struct session *s);
/* Does nothing for a relay that was never open, or whose end has been reported. */
void cmx_relay_event_closed(struct relay *x, struct session *s, cmx_err cause);
/* Counts the refusal too. r may be NULL: no context has the port. */
void cmx_relay_event_refused(struct session *s, struct run *r, const char *from, cmx_err cause);
