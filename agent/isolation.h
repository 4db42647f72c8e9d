/* isolation.h - the agent's share of isolation: from configuration to ruleset, into force before the first session
 * starts, followed as sessions and look-ups come and go, and read for the status. The rules are
 * port/linux/nft_ruleset's.
 *
 * It fails closed: what can't be installed stops the agent, and what is installed stays when the agent ends. */
#ifndef CMX_AGENT_ISOLATION_H
#define CMX_AGENT_ISOLATION_H

#include "agent.h"
#include "cmxsafe/core/json.h"
#include "nft.h"
#include "nft_ruleset.h"

struct isolation;

/* The configuration as a ruleset's input. follow: whether the running agent keeps it up to date. c is borrowed for the
 * contexts' names. CMX_EINVAL: why names what is wrong. */
CMX_MUST_USE cmx_err isolation_compile(const struct agent_config *c, bool follow, struct cmx_nft_config *out, char *why,
                                       size_t cap);

/* The rows of the module (wiring.h) and the engine's hooks. Without `[isolation] enabled` they do nothing. */
cmx_err isolation_check(const struct agent_config *c, char *why, size_t cap);
cmx_err isolation_prepare(struct agent *a, char *why, size_t cap);
cmx_err isolation_reload(struct agent *a, const struct agent_config *next, char *why, size_t cap);
void isolation_stop(struct agent *a);
void isolation_json(struct agent *a, struct cmx_json *j);
void isolation_text(struct agent *a, struct cmx_buf *out);
void isolation_hooks(struct cmx_proxy_hooks *hooks);

#endif
