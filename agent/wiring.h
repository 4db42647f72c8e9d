/* wiring.h - calls the modules of the agent: isolation, identity, proxy, attestation and updates. The table in
 * wiring.c lists them in the order in which they start. module.h says what each function is for. */
#pragma once

#include <poll.h>
#include <stddef.h>

#include "agent/module/module.h"

#define WIRING_POLLS_MAX 4

/* On error why is one sentence. */
CMX_MUST_USE cmx_err wiring_check(const struct agent_config *c, struct cmx_why *why);
CMX_MUST_USE cmx_err wiring_prepare(struct wiring *w, struct cmx_why *why);
void wiring_plan(const struct wiring *w, struct confine_plan *p);
CMX_MUST_USE cmx_err wiring_start(struct wiring *w, struct cmx_why *why);
/* On error w->config stays in force. */
CMX_MUST_USE cmx_err wiring_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why);
void wiring_stop(struct wiring *w);

/* Fills fds for poll. Returns the number of entries. */
size_t wiring_polls(const struct wiring *w, struct pollfd fds[WIRING_POLLS_MAX]);
/* Call at each turn of the agent's loop: at least once a minute, and at once when a descriptor of wiring_polls is
 * readable. */
void wiring_turn(struct wiring *w);

/* Write the modules' parts of the status: members of "modules" in JSON, or lines under the table. wiring: a struct
 * wiring. */
void wiring_json(void *wiring, struct cmx_json *j);
void wiring_text(void *wiring, struct cmx_buf *out);
