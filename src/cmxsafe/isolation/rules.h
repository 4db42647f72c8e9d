/* rules.h - types and functions for the rules of all protocol families. Internal to the module. */
#pragma once

#include "cmxsafe/isolation/policy_state.h"

/* A successfully parsed packet, and everything else that a rule needs to judge it. A rule returns why the packet passes
 * or is refused. */
struct cmx_question {
    struct cmx_isolation *iso;
    const struct cmx_iface *iface;
    cmx_direction dir;
    const struct cmx_packet *p;
    uint32_t now_s;
};

bool cmx_iface_owns(const struct cmx_iface *iface, const struct cmx_ip *ip);

/* Returns an interface's entry for ip, or NULL. list: the n neighbours or the n routers of the policy. */
struct cmx_neighbour *cmx_neighbour_find(struct cmx_neighbour *list, size_t n, uint8_t iface, const struct cmx_ip *ip);

/* Returns this interface's stored router with the address ip, even if the router's lifetime has ended, or NULL. */
struct cmx_neighbour *cmx_question_router(const struct cmx_question *q, const struct cmx_ip *ip);

/* True if the stack may send DNS queries to ip. */
bool cmx_question_is_resolver(const struct cmx_question *q, const struct cmx_ip *ip);

/* True if the device needs this host: gateway, resolver, time server, next hop, DHCP server, known router. */
bool cmx_question_is_peer(const struct cmx_question *q, const struct cmx_ip *ip);

/* Judges ICMP and ICMPv6 errors. */
cmx_reason cmx_rule_icmp_error(const struct cmx_question *q);
