/* wiring.h - the modules of the agent: credentials, isolation, proxy, attestation and updates. The table in wiring.c
 * has a row for each module, in the order in which the modules start. The functions of a row pass the module the state
 * that it needs.
 *
 * Start: prepare all, confine the process, start all. Reload: reload all; if a module refuses, the modules before it
 * get the old configuration again. Stop: in reverse order. Call from the agent's own thread. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/config/agent_config.h"
#include "agent/confine/confine.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/why.h"

struct cmx_proxy;
struct isolation;

/* The modules' objects, and the data that several modules use. */
struct wiring {
    struct agent_config *config; /* the configuration in force; owned by the agent */
    int wake;                    /* eventfd of the agent's loop, written when a session or the rules changed */
    struct isolation *isolation; /* NULL: not enabled at the start */
    struct cmx_proxy *proxy;
    bool sessions_held; /* the engine has no contexts, because the rules of isolation cannot be installed */
};

#define WIRING_POLLS_MAX 4

/* On error why is one sentence. */
CMX_MUST_USE cmx_err wiring_check(const struct agent_config *c, struct cmx_why *why);
CMX_MUST_USE cmx_err wiring_prepare(struct wiring *w, struct cmx_why *why);
void wiring_plan(const struct wiring *w, struct confine_plan *p);
CMX_MUST_USE cmx_err wiring_start(struct wiring *w, struct cmx_why *why);
/* On error w->config stays in force. */
CMX_MUST_USE cmx_err wiring_reload(struct wiring *w, const struct agent_config *next, struct cmx_why *why);
void wiring_stop(struct wiring *w);

/* Fills fds for poll; returns how many. */
size_t wiring_polls(const struct wiring *w, struct pollfd fds[WIRING_POLLS_MAX]);
/* Call at each turn of the agent's loop: at least once a minute, and at once when a descriptor of wiring_polls is
 * readable. */
void wiring_turn(struct wiring *w);

/* Write the modules' parts of the status: members of "modules" in JSON, or lines under the table. wiring: a struct
 * wiring. */
void wiring_json(void *wiring, struct cmx_json *j);
void wiring_text(void *wiring, struct cmx_buf *out);
