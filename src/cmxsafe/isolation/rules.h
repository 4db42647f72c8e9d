/* rules.h - the rules of each family of packets, one file each; cmx_isolation_check chooses. Internal to the module.
 * All are given a packet that parsed; all return why it passes or why not. */
#ifndef CMX_ISOLATION_RULES_H
#define CMX_ISOLATION_RULES_H

#include "cmxsafe/isolation/policy.h"

struct cmx_question {
    struct cmx_isolation *iso;
    const struct cmx_iface *iface;
    cmx_direction dir;
    const struct cmx_packet *p;
    uint32_t now_ms;
};

cmx_why cmx_rule_arp(const struct cmx_question *q);        /* link.c: RFC 826 */
cmx_why cmx_rule_icmp6(const struct cmx_question *q);      /* link.c: RFC 4861, and errors */
cmx_why cmx_rule_icmp_error(const struct cmx_question *q); /* policy.c */
cmx_why cmx_rule_udp(const struct cmx_question *q);        /* request.c: DHCP, DHCPv6, DNS, SNTP */

/* ---- shared ---- */

bool cmx_iface_owns(const struct cmx_iface *iface, const struct cmx_ip *ip);

/* Do we need this party on the link: gateway, resolver, time server, next hop, DHCP server, known router? */
bool cmx_is_peer(const struct cmx_question *q, const struct cmx_ip *ip);

/* A question of ours for ip, answered within CMX_ISO_NEIGHBOUR_MS. link.c */
void cmx_neighbour_ask(const struct cmx_question *q, const struct cmx_ip *ip);

/* ff02::1:2, to whom DHCPv6 requests go; as such a neighbour that is asked for. request.c */
extern const union cmx_known_ip {
    uint8_t bytes[16];
    struct cmx_ip ip;
} cmx_dhcp6_servers;

/* Has this interface heard that router, whether or not its lifetime is over? link.c */
bool cmx_is_router(const struct cmx_question *q, const struct cmx_ip *ip);

/* May the stack send look-ups to that address? */
bool cmx_is_resolver(const struct cmx_question *q, const struct cmx_ip *ip);

bool cmx_ip_in(const struct cmx_ip *list, size_t n, const struct cmx_ip *ip);

#endif
