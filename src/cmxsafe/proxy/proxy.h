/* proxy.h - the Client Socket Proxy: keeps SSH sessions to a gateway up and carries TCP connections through them. A
 * reverse context forwards a listener on the gateway to a service of the device; a direct context forwards a listener
 * on the device's loopback to a service that the gateway can reach (RFC 4254 section 7). Each session has one
 * event-driven task. The engine reads no configuration file: the caller passes strings, which the engine copies, and
 * receives copies of the status.
 *
 *   proxy.c            creates, changes, watches and ends sessions; reports status
 *   session.c          a session's task: log in, serve, wait, repeat
 *   gateways.c         reads the list of gateways; session_gateway.c chooses the one that the sessions use
 *   session_login.c    from a host name to an authenticated session
 *   session_serve.c    the event loop of a live session
 *   session_request.c  requests forwards and sends keepalives
 *   relay.c            the life of one connection; relay_flow.c moves its bytes; relay_event.c calls the relay hook
 *   probe.c            tests whether the gateway's listener still forwards to this device
 *   session_state.c, relay_state.c  the state that the files above share, and its setters
 *
 * A session's task owns its session and everything in it. Other tasks must hold the engine's lock to use a session.
 * They may read `shared` and `cfg` of its contexts, and change only the members that session_state.h marks
 * "protected by the lock". The session's task also holds the lock while it links and unlinks contexts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/context.h"

/* ---- the engine ---- */

struct cmx_proxy;

/* Checks and copies the arguments, and starts the session tasks, each with stack_bytes (0: the platform's default).
 * hooks may be NULL; they may be called before this function returns. why receives the invalid setting; may be NULL.
 * CMX_EINVAL: a setting is invalid; CMX_ENOMEM: no memory, or a task could not be started. *out is NULL after an error.
 */
CMX_MUST_USE cmx_err cmx_proxy_create(struct cmx_proxy **out, const struct cmx_gateway *gateway,
                                      const struct cmx_context *contexts, size_t n_contexts,
                                      const struct cmx_proxy_hooks *hooks, size_t stack_bytes, struct cmx_why *why);

/* Replaces the contexts of a running engine. Unchanged contexts keep their sessions and relays; sessions without a
 * context end. gateway: the same as in cmx_proxy_create. Checks and errors are those of cmx_proxy_create; after an
 * error nothing has changed. Only one task at a time may call this or cmx_proxy_reconfigure. */
CMX_MUST_USE cmx_err cmx_proxy_set_contexts(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                                            const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why);

/* Replaces the configuration of a running engine, as a Linux agent does when its file changes. Unchanged contexts keep
 * their sessions and relays, but if the gateway has changed, all sessions restart. Checks and errors are those of
 * cmx_proxy_create; after an error nothing has changed. Only one task at a time may call this or
 * cmx_proxy_set_contexts. */
CMX_MUST_USE cmx_err cmx_proxy_reconfigure(struct cmx_proxy *p, const struct cmx_gateway *gateway,
                                           const struct cmx_context *contexts, size_t n_contexts, struct cmx_why *why);

/* Ends all sessions and relays, waits until the tasks have ended, and frees p. NULL is fine. */
void cmx_proxy_destroy(struct cmx_proxy *p);

/* Shuts down the gateway connection of each session whose task has not run for CMX_SESSION_STUCK_MS. If the task is
 * blocked in a call on that connection's socket, the call fails and the session logs in again. Call it about once a
 * second. Any thread. */
void cmx_proxy_watch(struct cmx_proxy *p);

/* Records whether an update is being received: see CMX_RELAY_HEAP_BULK in proxy_limits.h. Any thread. */
void cmx_proxy_set_updating(struct cmx_proxy *p, bool updating);

/* Writes the status of at most cap contexts to out; returns the number of all contexts. Each entry is a consistent
 * snapshot. Any thread. */
size_t cmx_proxy_status(struct cmx_proxy *p, struct cmx_context_status *out, size_t cap);

/* Copies the status of the context that has the given direction and local port to *out. False: there is no such
 * context; *out is unchanged. Any thread. */
bool cmx_proxy_find(struct cmx_proxy *p, cmx_proxy_direction direction, uint16_t local_port,
                    struct cmx_context_status *out);

/* True if the device has reached its gateway: at least one context is CMX_STATE_UP, and every other context is up too
 * or had its forward refused by the gateway in a live session. Any thread. */
bool cmx_proxy_reached(struct cmx_proxy *p);
