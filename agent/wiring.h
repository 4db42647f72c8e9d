/* wiring.h - the modules of the agent, in the order in which they start. A module is a row of the table in wiring.c:
 * this is the place where isolation, OTA and attestation are put beside the proxy.
 *
 * Start: plan and prepare of all, confinement, start of all. Reload: reload of all; if one refuses, those before it are
 * given the old configuration again. Stop: in reverse order. All from the agent's own thread. */
#ifndef CMX_AGENT_WIRING_H
#define CMX_AGENT_WIRING_H

#include "agent.h"

/* Any function may be NULL. why: one sentence for a person. */
struct agent_module {
    const char *name;
    /* Would the configuration be accepted? Changes nothing; also for --check. */
    cmx_err (*check)(const struct agent_config *c, char *why, size_t cap);
    /* What the module needs left of files and ports. */
    void (*plan)(struct agent *a, struct confine_plan *p);
    /* What has to be opened or installed before the agent confines itself. a->config is the configuration. */
    cmx_err (*prepare)(struct agent *a, char *why, size_t cap);
    cmx_err (*start)(struct agent *a, char *why, size_t cap);
    /* Changes over from a->config to next. On error nothing has changed. */
    cmx_err (*reload)(struct agent *a, const struct agent_config *next, char *why, size_t cap);
    void (*stop)(struct agent *a);
    /* Members of the status document's "modules", and lines under the table. */
    void (*json)(struct agent *a, struct cmx_json *j);
    void (*text)(struct agent *a, struct cmx_buf *out);
};

CMX_MUST_USE cmx_err wiring_check(const struct agent_config *c, char *why, size_t cap);
CMX_MUST_USE cmx_err wiring_prepare(struct agent *a, char *why, size_t cap);
CMX_MUST_USE cmx_err wiring_start(struct agent *a, char *why, size_t cap);
CMX_MUST_USE cmx_err wiring_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap);
void wiring_plan(struct agent *a, struct confine_plan *p);
void wiring_stop(struct agent *a);
void wiring_json(void *agent, struct cmx_json *j);
void wiring_text(void *agent, struct cmx_buf *out);

/* The commands of the control socket; a module adds its own rows. */
extern const struct control_command wiring_commands[];
extern const size_t wiring_n_commands;

#endif
