/* flow.h - the table of sockets that the proxy engine owns, and the state of their TCP. Internal to the module. */
#ifndef CMX_ISOLATION_FLOW_H
#define CMX_ISOLATION_FLOW_H

#include "cmxsafe/isolation/policy.h"

/* A new flow, linked under its ports, in the place of an old one between the same ends. False: no place is free; those
 * of flows that are closing are then taken, oldest first. */
bool cmx_flow_add(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                  const struct cmx_end *peer, uint32_t now_ms);

void cmx_flow_remove(struct cmx_isolation *iso, struct cmx_flow *f);

/* The flow with these ends; a flow whose local address is not known yet matches any. NULL: none. */
struct cmx_flow *cmx_flow_find(struct cmx_isolation *iso, const struct cmx_end *local, const struct cmx_end *peer,
                               uint32_t now_ms);

/* Any live session with that peer? Slow: for ARP and neighbour discovery. */
bool cmx_flow_has_peer(const struct cmx_isolation *iso, const struct cmx_ip *peer, uint32_t now_ms);

/* TCP of a session, after its flow was found. CMX_WHY_SESSION or CMX_WHY_TCP_STATE. */
cmx_why cmx_flow_tcp_out(struct cmx_flow *f, const struct cmx_packet *p);
cmx_why cmx_flow_tcp_in(struct cmx_flow *f, const struct cmx_packet *p);

/* a is after b, on the clock of 32 bits that wraps. */
static inline bool cmx_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

#endif
