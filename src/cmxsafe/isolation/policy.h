/* policy.h - decides whether a packet may pass: inbound, outbound or on loopback. The default is to deny. Decides from
 * the packet's bytes, the interface, the time that the caller gives, the open sockets and the outstanding requests.
 * Does no I/O, and uses no clock, lock or allocation. The caller serialises the calls (the filter holds its lock); they
 * may come from the network stack's own thread.
 *
 * now_s: seconds on a clock that is never set back, such as cmx_port_now_ms() / 1000.
 *
 * Only these packets pass: TCP between the gateway and a port that a live session owns; ICMP errors about a live
 * session; ARP and neighbour discovery for our own addresses and the peers we need; router discovery and multicast
 * listener messages; DHCP, DNS and SNTP requests, and answers to outstanding ones; on loopback, the connections of the
 * proxies and of permitted tasks, and the servers' wake-up packets. Every other packet is dropped without an answer.
 *
 * Order of use: first cmx_isolation_init. Then cmx_isolation_socket_open, cmx_isolation_socket_close and
 * cmx_isolation_resolving for each report from the proxy engine (cmx_proxy_hooks), and cmx_isolation_check for each
 * packet. */
#pragma once

#include "cmxsafe/core/err.h"
#include "cmxsafe/isolation/policy_state.h"

struct cmx_decision {
    cmx_verdict verdict;
    cmx_reason why;
};

/* Copies config. Borrows flows, which may be uninitialised, until iso is no longer used. Each session, listener and
 * relay needs a flow, and closing sockets keep theirs for a while: 2 * (sessions + listeners + the sum of
 * max_connections) flows are enough. CMX_EINVAL: a count is out of range, or a context has port 0; iso then denies
 * everything. */
CMX_MUST_USE cmx_err cmx_isolation_init(struct cmx_isolation *iso, const struct cmx_iso_config *config,
                                        struct cmx_flow *flows, size_t n_flows);

/* Replaces the configuration and keeps the state. CMX_EINVAL: as for cmx_isolation_init, but nothing has changed. */
CMX_MUST_USE cmx_err cmx_isolation_configure(struct cmx_isolation *iso, const struct cmx_iso_config *config);

/* Records that the engine, or a permitted task (CMX_FLOW_CLAIM), is about to connect or listen with this local address
 * and port. The address is :: or 0.0.0.0 if it is not known yet; the socket's first packet then sets it. peer: NULL
 * for a listener. CMX_EPERM: the configuration has no gateway or context for such a socket. CMX_ENOSPC: no flow is
 * free. */
CMX_MUST_USE cmx_err cmx_isolation_socket_open(struct cmx_isolation *iso, cmx_flow_kind kind,
                                               const struct cmx_end *local, const struct cmx_end *peer, uint32_t now_s);

/* Records that the socket was closed. The socket's FIN exchange still passes for CMX_ISO_CLOSING_S seconds. local,
 * peer: as in cmx_isolation_socket_open. Unknown sockets are ignored. */
void cmx_isolation_socket_close(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                                const struct cmx_end *peer, uint32_t now_s);

/* Call when the policy comes into force while sessions may already exist (sketches for CMXsafe-ESP32 call setup_sm()
 * after starting the proxies). Until the device sends its next segment in such a session, the gateway's SYN+ACK, data
 * and acknowledgements pass without a check of their sequence numbers, and its FIN and RST do not pass. */
void cmx_isolation_adopt(struct cmx_isolation *iso);

/* Call when the engine begins or ends a look-up of a gateway's name. Several look-ups may be in progress. */
void cmx_isolation_resolving(struct cmx_isolation *iso, bool begins);

/* Judges a frame, and counts the decision. */
struct cmx_decision cmx_isolation_check(struct cmx_isolation *iso, const struct cmx_iface *iface, cmx_direction dir,
                                        const struct cmx_frame *frame, uint32_t now_s);

/* Returns the context with this direction, address and port, or NULL. */
const struct cmx_iso_context *cmx_isolation_context(const struct cmx_isolation *iso, bool direct,
                                                    const struct cmx_end *place);

/* Returns the number of open sockets. */
size_t cmx_isolation_flows(const struct cmx_isolation *iso);
