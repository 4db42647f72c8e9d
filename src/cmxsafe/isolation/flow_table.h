/* flow_table.h - the table of flows (struct cmx_flow), and the state of their TCP connections. Internal to the
 * module. */
#pragma once

#include "cmxsafe/isolation/policy_state.h"

/* Adds a flow. An old flow between the same ends is replaced. If the table is full, the flow that has been closing for
 * longest is replaced. False: all flows are in use, and none is closing. */
bool cmx_flow_add(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                  const struct cmx_end *peer, uint32_t now_s);

/* Returns the flow with these ends, or NULL. An unknown local address (:: or 0.0.0.0), in the flow or in *local,
 * matches any address, because when a socket closes, the engine passes the address that the socket had before it
 * connected. */
struct cmx_flow *cmx_flow_find(struct cmx_isolation *iso, const struct cmx_end *local, const struct cmx_end *peer,
                               uint32_t now_s);

/* True if a session with this peer is open or closing. Slow; used for ARP and neighbour discovery only. */
bool cmx_flow_has_peer(const struct cmx_isolation *iso, const struct cmx_ip *peer, uint32_t now_s);

/* Judge a TCP segment that the device sends (out) or receives (in) in the session of f. Return CMX_REASON_SESSION if it
 * passes, otherwise CMX_REASON_TCP_STATE. */
cmx_reason cmx_flow_tcp_out(struct cmx_flow *f, const struct cmx_packet *p);
cmx_reason cmx_flow_tcp_in(struct cmx_flow *f, const struct cmx_packet *p);
