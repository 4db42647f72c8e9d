/* proxy.h - the Client Socket Proxy: keeps SSH sessions to a gateway up and carries TCP connections through them. A
 * reverse context forwards a listener at the gateway to a service of the device; a direct context forwards a listener
 * on the device's loopback to a service behind the gateway (RFC 4254 section 7). Each session has one event-driven
 * task. The engine reads no configuration file: the caller passes strings, which are copied, and gets status as values.
 *
 *   proxy.c            creates, changes, watches and ends sessions; reports status
 *   session.c          a session's task: log in, serve, wait, repeat
 *   gateways.c         reads the list of gateways; session_gateway.c: which one the sessions use
 *   session_login.c    from a host name to an authenticated session
 *   session_serve.c    the event loop of a live session
 *   session_request.c  requests forwards and sends keepalives
 *   relay.c            the life of one connection; relay_flow.c: its bytes; relay_event.c: reports it to the hook
 *   probe.c            tests whether the gateway's listener still forwards to this device
 *   session_state.c, relay_state.c  the state that these share, with one setter each
 *
 * A session's task owns everything of its session. Other tasks hold the engine's lock when they use a session: they
 * read `shared` and `cfg` of its contexts, and change only the members that session_state.h marks "under the lock". The
 * session's task also holds the lock to link and unlink contexts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the engine ---- */

struct cmx_proxy;

/* Checks and copies everything; starts nothing. hooks may be NULL. why names the offending setting; may be NULL.
 * CMX_EINVAL, CMX_ENOMEM. */
CMX_MUST_USE cmx_err cmx_proxy_create(struct cmx_proxy **out, const struct cmx_gateway *gateway,
                                      const struct cmx_context *contexts, size_t n_contexts,
                                      const struct cmx_proxy_hooks *hooks, struct cmx_why *why);

/* Starts the session tasks, each with stack_bytes (0: the platform's default). CMX_ENOMEM: some could not be started.
 */
CMX_MUST_USE cmx_err cmx_proxy_start(struct cmx_proxy *p, size_t stack_bytes);

/* Replaces the contexts of a running engine. Unchanged ones keep their sessions and relays. gateway: the one passed to
 * create. On error nothing has changed. Same checks as create. One caller at a time. Without contexts all sessions
 * end. */
CMX_MUST_USE cmx_err cmx_proxy_set_contexts(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                                            const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why);

/* Replaces the configuration of a running engine, as a Linux agent does when its file changes. Unchanged contexts keep
 * their sessions and relays; a changed gateway restarts all sessions. On error nothing has changed. Same checks as
 * create. One caller at a time. Without contexts all sessions end. */
CMX_MUST_USE cmx_err cmx_proxy_reconfigure(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                                           const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why);

/* Ends sessions and relays and waits for the tasks; frees p. NULL is fine. */
void cmx_proxy_destroy(struct cmx_proxy *p);

/* Breaks the connection of each session whose task has not run for CMX_SESSION_STUCK_MS, so that calls which wait for
 * the socket fail and the session logs in again. Call it about once a second. Any thread. */
void cmx_proxy_watch(struct cmx_proxy *p);

/* Records whether an update is being received: see CMX_RELAY_HEAP_UPDATE in proxy_limits.h. Any thread. */
void cmx_proxy_set_updating(struct cmx_proxy *p, bool updating);

/* Writes at most cap entries; returns how many contexts there are. Each entry is a consistent snapshot. Any thread. */
size_t cmx_proxy_status(struct cmx_proxy *p, struct cmx_context_status *out, size_t cap);

/* Finds the context of that direction and local port. False: there is none; *out is then unchanged. Any thread. */
bool cmx_proxy_find(struct cmx_proxy *p, cmx_proxy_direction direction, uint16_t local_port,
                    struct cmx_context_status *out);

/* True when the device has reached its gateway: a context is CMX_STATE_UP, and every other one is up too or has a
 * session whose gateway refused the forward. Any thread. */
bool cmx_proxy_reached(struct cmx_proxy *p);

#ifdef __cplusplus
}
#endif
