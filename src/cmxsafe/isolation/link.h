/* link.h - rules for ARP, neighbour and router discovery, and multicast listener reports. An answer passes only if it
 * answers one of our requests. A request passes only from a peer that the device needs. The first router that
 * advertises itself is used until its lifetime ends. Internal to the module, except cmx_isolation_neighbour. */
#pragma once

#include "cmxsafe/isolation/rules.h"

cmx_reason cmx_link_arp(const struct cmx_question *q);   /* RFC 826 */
cmx_reason cmx_link_icmp6(const struct cmx_question *q); /* neighbour discovery (RFC 4861), MLD, ICMPv6 errors */

/* Remembers our request for the hardware address of ip. Answers to the request pass for CMX_ISO_NEIGHBOUR_S seconds. If
 * the table is full, the entry that expires first is replaced. An earlier answer is kept until the next one arrives. */
void cmx_link_ask(const struct cmx_question *q, const struct cmx_ip *ip);

/* ff02::1:2, the destination of DHCPv6 requests. After such a request the policy stores this address as a requested
 * neighbour, so that a server can resolve our address. */
extern const union cmx_known_ip {
    uint8_t bytes[CMX_IPV6_LEN];
    struct cmx_ip ip;
} cmx_link_dhcp6_servers;

/* Adds a neighbour, or a router, that the network stack already uses when the policy comes into force, as if it had
 * answered. If the table is full, replaces the entry that expires first. */
void cmx_isolation_neighbour(struct cmx_isolation *iso, const struct cmx_filter_neighbour *n, uint32_t now_s);
