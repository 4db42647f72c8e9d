/* agent_isolation.h - isolation in the agent. Turns the configuration into rules and installs them before the first
 * session starts. Adapts the rules to sessions, look-ups and name servers. Checks that the rules stay in force, and
 * repairs them.
 *
 * It fails closed. Rules that cannot be installed stop the agent from starting. Rules that another program changed or
 * removed are reported at once (log, status, evidence) and installed again. While they cannot be installed again, the
 * agent keeps all its sessions closed. The rules stay in force when the agent ends. */
#pragma once

#include <stdbool.h>

#include "agent/isolation/nft_ruleset.h"
#include "agent/module/module.h"

struct sockaddr;

/* Turns the configuration into the ruleset's input. follow: the ruleset is for a running agent, which itself adds the
 * addresses of gateways and permits look-ups while it needs them; users that do not exist are left out, because the
 * removal of a user must not cut off the device. If isolation is no longer enabled, contexts that it does not permit
 * are left out, too. Borrows the names of c's contexts. CMX_EINVAL: why names what is wrong. */
CMX_MUST_USE cmx_err isolation_compile(const struct agent_config *c, bool follow, struct cmx_nft_config *out,
                                       struct cmx_why *why);

/* Checks that the users in `users` of direct contexts and in `forwarder` exist. CMX_EINVAL: why names one that does
 * not. */
CMX_MUST_USE cmx_err isolation_check_users(const struct agent_config *c, struct cmx_why *why);

/* Computes the SHA-256 of the policy as configured, for evidence. It is equal on devices with the same [gateway],
 * [context] and [isolation]: the users' numeric ids and the name servers from DHCP do not affect it. CMX_EINVAL: the
 * configuration cannot be turned into rules; CMX_ENOMEM. */
CMX_MUST_USE cmx_err isolation_digest(const struct agent_config *c, uint8_t out[CMX_SHA256_LEN]);

/* Checks that the gateways' names can be looked up while isolation is in force. CMX_EINVAL: they cannot; why says what
 * to do. */
CMX_MUST_USE cmx_err isolation_check_names(const struct agent_config *c, struct cmx_why *why);

/* Installs the rules before the agent confines itself, and keeps them in force. Sets w->isolation; NULL if isolation is
 * not enabled. The functions below accept this NULL, except those for the engine's hooks. */
extern const struct module isolation_module;

/* Functions of isolation_module that isolation_status.c defines. */
void isolation_json(const struct wiring *w, struct cmx_json *j);
void isolation_text(const struct wiring *w, struct cmx_buf *out);

/* For the engine's hooks: call when a session to gateway opens or has closed, and when a look-up of a gateway's name
 * begins or has ended. Any thread. s must not be NULL. */
CMX_MUST_USE cmx_err isolation_session_opens(struct isolation *s, const struct sockaddr *gateway);
void isolation_session_closed(struct isolation *s, const struct sockaddr *gateway);
void isolation_resolve(struct isolation *s, bool begins);

/* Checks the rules. True if they are in force. False if isolation is not enabled. Any thread. */
bool isolation_in_force(struct isolation *s);

/* True if a new version may be confirmed: isolation is in force, or not enabled. Any thread. */
bool isolation_settled(struct isolation *s);

/* True if sessions may exist: isolation is in force, being repaired, or not enabled. Any thread. */
bool isolation_permits_sessions(struct isolation *s);
