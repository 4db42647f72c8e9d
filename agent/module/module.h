/* module.h - the interface between agent/wiring.c and the modules of the agent, which wiring.c calls in turn.
 * Isolation, identity, attestation and updates each export one struct module; wiring.c defines that of the proxy.
 *
 * Start: check all, prepare all, confine the process, start all, then give the contexts to the proxy. A failure of a
 * service that the sessions do not need is logged and written to the status, but prepare and start succeed: otherwise
 * nobody could reach the device to repair it. Reload: check all, reload all; if a module refuses, the modules before it
 * get the old configuration again. Stop: in reverse order. All calls come from the agent's own thread. */
#pragma once

#include "agent/config/agent_config.h"
#include "agent/confine/confine.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/json.h"
#include "cmxsafe/core/why.h"

struct cmx_proxy;
struct isolation;

/* The data that several modules use. */
struct wiring {
    struct agent_config *config; /* the configuration in force; owned by the agent */
    int wake;                    /* eventfd of the agent's loop, written when a session or the rules changed */
    struct isolation *isolation; /* NULL: isolation was not enabled at the start */
    struct cmx_proxy *proxy;     /* NULL: the modules have not been started yet */
    bool failed;                 /* a module cannot continue: the agent ends with an error */
    bool retry;                  /* in this turn of the loop, modules try again to start what could not be started */
    uint64_t retry_at_ms;        /* when `retry` is next set */
    size_t given;                /* number of contexts that the engine has */
};

/* Any function may be NULL. On error `why` is one sentence, or empty. */
struct module {
    const char *name;
    /* Checks whether the module accepts the configuration. Changes nothing; `--check` calls it too. During
     * a reload the process is already confined. */
    cmx_err (*check)(const struct agent_config *c, struct cmx_why *why);
    /* Opens or installs everything that the module can no longer reach after the agent has confined itself. */
    cmx_err (*prepare)(struct wiring *w, struct cmx_why *why);
    /* Adds to the plan the files and ports that the module needs after the agent has confined itself. */
    void (*plan)(const struct wiring *w, struct confine_plan *p);
    cmx_err (*start)(struct wiring *w, struct cmx_why *why);
    /* Applies `next`; the agent then replaces w->config. On error the module continues to use w->config. */
    cmx_err (*reload)(struct wiring *w, const struct agent_config *next, struct cmx_why *why);
    /* Called at each turn of the agent's loop: at least once a minute, and at once when fd is readable. Before the
     * modules have started, w->proxy is NULL. */
    void (*turn)(struct wiring *w);
    int (*fd)(const struct wiring *w); /* returns a descriptor to poll, or -1 */
    void (*stop)(struct wiring *w);
    /* Write the module's part of the status: a member of "modules" in JSON, or lines under the table. */
    void (*json)(const struct wiring *w, struct cmx_json *j);
    void (*text)(const struct wiring *w, struct cmx_buf *out);
};
