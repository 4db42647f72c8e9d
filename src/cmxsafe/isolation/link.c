/* link.c - what keeps the link alive: ARP, neighbour and router discovery, multicast listener reports. An answer passes
 * only to a question of ours; a question only from a peer that we need; a router is the one that answered first. */
#include <string.h>

#include "cmxsafe/isolation/flow.h"
#include "cmxsafe/isolation/rules.h"

#define ARP_REQUEST 1
#define ARP_REPLY 2

#define ICMP6_ERROR_LAST 4
#define MLD_QUERY 130
#define MLD_REPORT 131
#define MLD_DONE 132
#define ND_ROUTER_SOLICIT 133
#define ND_ROUTER_ADVERT 134
#define ND_NEIGHBOUR_SOLICIT 135
#define ND_NEIGHBOUR_ADVERT 136
#define MLD2_REPORT 143

#define ND_OPTION_SOURCE_LINK 1
#define ND_OPTION_TARGET_LINK 2
#define ND_MIN 24u /* a neighbour message: 8 bytes and the target */

/* The frame says that it comes from that hardware address; a link without a header says nothing. */
static bool is_sender(const struct cmx_packet *p, const uint8_t mac[6])
{
    return !p->eth || cmx_mac_equal(mac, p->eth + 6);
}

/* What this interface knows of ip in one of the two lists, or NULL. */
static struct cmx_neighbour *find_in(struct cmx_neighbour *list, size_t n, const struct cmx_question *q,
                                     const struct cmx_ip *ip)
{
    struct cmx_neighbour *end = list + n;

    for (; list < end; list++)
        if (list->state && list->iface == q->iface->index && cmx_ip_equal(&list->ip, ip))
            return list;
    return NULL;
}

CMX_SMALL static struct cmx_neighbour *find(const struct cmx_question *q, const struct cmx_ip *ip)
{
    return find_in(q->iso->neighbours, CMX_ISO_NEIGHBOURS_MAX, q, ip);
}

CMX_SMALL static void take(struct cmx_neighbour *n, const struct cmx_question *q, const struct cmx_ip *ip)
{
    memset(n, 0, sizeof *n);
    n->state = CMX_NEIGHBOUR_ASKED;
    n->ip = *ip;
    n->iface = q->iface->index;
}

/* Remembers a question of ours; the place that was asked longest ago goes. What a peer answered before is kept until it
 * answers anew. */
void cmx_neighbour_ask(const struct cmx_question *q, const struct cmx_ip *ip)
{
    struct cmx_neighbour *n = find(q, ip), *o = q->iso->neighbours;

    if (!n) {
        for (n = o++; o < q->iso->neighbours + CMX_ISO_NEIGHBOURS_MAX && n->state; o++)
            if (!o->state || cmx_after(n->expires, o->expires))
                n = o;
        take(n, q, ip);
    }
    n->expires = q->now_ms + CMX_ISO_NEIGHBOUR_MS;
}

/* mac says that it has ip. Did we ask for it, and not long ago? */
static bool is_answer(const struct cmx_question *q, const struct cmx_ip *ip, const uint8_t mac[6])
{
    struct cmx_neighbour *n = find(q, ip);

    if (!n || !cmx_after(n->expires, q->now_ms))
        return false;
    memcpy(n->mac, mac, 6);
    n->state = CMX_NEIGHBOUR_ANSWERED;
    return true;
}

static bool is_known_mac(const struct cmx_question *q, const uint8_t mac[6])
{
    const struct cmx_neighbour *n = q->iso->neighbours;

    for (; n < q->iso->neighbours + CMX_ISO_NEIGHBOURS_MAX; n++)
        if (n->state == CMX_NEIGHBOUR_ANSWERED && n->iface == q->iface->index && cmx_mac_equal(n->mac, mac))
            return true;
    return false;
}

/* May the sender of this packet, with the hardware address mac, ask for an address of ours? `passes` if so. */
static cmx_why asks_us(const struct cmx_question *q, const uint8_t *mac, cmx_why passes)
{
    const struct cmx_ip *from = &q->p->src.ip;
    const struct cmx_neighbour *n;

    /* A peer may also ask from its link-local address: it is then known by its hardware address. A DHCPv6 server that
     * we asked has not answered yet: it asks for us first. */
    if (!cmx_is_peer(q, from) &&
        !(mac && cmx_ip_is_link_local6(from) && (is_known_mac(q, mac) || is_answer(q, &cmx_dhcp6_servers.ip, mac))))
        return CMX_WHY_NOT_PEER;
    /* Who answered from another hardware address before is robbed of its name here. */
    n = find(q, from);
    return mac && n && n->state == CMX_NEIGHBOUR_ANSWERED && !cmx_mac_equal(n->mac, mac) ? CMX_WHY_WRONG_SERVER
                                                                                         : passes;
}

/* We ask for that address: a peer's, or our own, which others may have. */
static cmx_why we_ask(const struct cmx_question *q, const struct cmx_ip *target, cmx_why passes)
{
    if (cmx_iface_owns(q->iface, target))
        return passes;
    if (!cmx_is_peer(q, target))
        return CMX_WHY_NOT_PEER;
    cmx_neighbour_ask(q, target);
    return passes;
}

static cmx_why arp_out(const struct cmx_question *q, bool asks)
{
    const struct cmx_packet *p = q->p;
    const bool probe = cmx_ip_is_any(&p->src.ip);

    if (!cmx_mac_equal(p->l4 + 8, q->iface->mac) || (!probe && !cmx_iface_owns(q->iface, &p->src.ip)))
        return CMX_WHY_MARTIAN;
    if (asks)
        return probe ? CMX_WHY_ARP : we_ask(q, &p->dst.ip, CMX_WHY_ARP); /* RFC 5227: probes and announcements */
    return cmx_is_peer(q, &p->dst.ip) || cmx_iface_owns(q->iface, &p->dst.ip) ? CMX_WHY_ARP : CMX_WHY_NOT_PEER;
}

static cmx_why arp_in(const struct cmx_question *q, bool asks)
{
    const struct cmx_packet *p = q->p;
    const uint8_t *mac = p->l4 + 8;

    if ((mac[0] & 1) || !p->eth || !is_sender(p, mac))
        return CMX_WHY_FORM;
    if (!cmx_iface_owns(q->iface, &p->dst.ip) || cmx_iface_owns(q->iface, &p->src.ip) ||
        (!asks && !cmx_mac_equal(p->l4 + 18, q->iface->mac)))
        return CMX_WHY_NOT_FOR_US;
    if (!asks)
        return is_answer(q, &p->src.ip, mac) ? CMX_WHY_ARP : CMX_WHY_UNASKED;
    /* A probe for an address of ours: defend it. */
    return cmx_ip_is_any(&p->src.ip) ? CMX_WHY_ARP : asks_us(q, mac, CMX_WHY_ARP);
}

cmx_why cmx_rule_arp(const struct cmx_question *q)
{
    const uint32_t op = cmx_get16(q->p->l4 + 6);

    if (op != ARP_REQUEST && op != ARP_REPLY)
        return CMX_WHY_FORM;
    return q->dir == CMX_IN ? arp_in(q, op == ARP_REQUEST) : arp_out(q, op == ARP_REQUEST);
}

/* ND options (RFC 4861 section 4.6): none empty, none past the end; the link-layer address, if any, of this type. A
 * source's must be the one that the frame comes from. */
static bool nd_options(const struct cmx_packet *p, uint32_t at, uint8_t type, const uint8_t **mac)
{
    *mac = NULL;
    if (p->l4_have != p->l4_len)
        return false;
    while (at < p->l4_len) {
        uint32_t size;

        if (at + 2 > p->l4_len)
            return false;
        size = p->l4[at + 1] * 8u;
        if (!size || size > p->l4_len - at)
            return false;
        if (p->l4[at] == type)
            *mac = p->l4 + at + 2;
        at += size;
    }
    return !*mac || type != ND_OPTION_SOURCE_LINK || is_sender(p, *mac);
}

CMX_SMALL static struct cmx_neighbour *find_router(const struct cmx_question *q, const struct cmx_ip *ip)
{
    return find_in(q->iso->routers, CMX_ISO_ROUTERS_MAX, q, ip);
}

bool cmx_is_router(const struct cmx_question *q, const struct cmx_ip *ip)
{
    return find_router(q, ip) != NULL;
}

/* The sender of this packet, if it is a router whose lifetime is not over. */
static struct cmx_neighbour *known_router(const struct cmx_question *q)
{
    struct cmx_neighbour *r = find_router(q, &q->p->src.ip);

    return r && cmx_after(r->expires, q->now_ms) ? r : NULL;
}

/* The first router of an interface is taken; another one only when that one's lifetime is over. */
static struct cmx_neighbour *learn_router(const struct cmx_question *q)
{
    struct cmx_neighbour *r = q->iso->routers, *place = NULL;

    for (; r < q->iso->routers + CMX_ISO_ROUTERS_MAX; r++) {
        if (!r->state || !cmx_after(r->expires, q->now_ms))
            place = r;
        else if (r->iface == q->iface->index)
            return NULL;
    }
    if (place) {
        take(place, q, &q->p->src.ip);
        if (q->p->eth)
            memcpy(place->mac, q->p->eth + 6, 6);
    }
    return place;
}

/* RFC 4861 section 6.1.2. */
static cmx_why router_advert(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_neighbour *r = known_router(q);
    const uint8_t *mac;
    uint32_t lifetime_s;

    if (!cmx_ip_is_link_local6(&p->src.ip) || p->l4_len < 16 || !nd_options(p, 16, ND_OPTION_SOURCE_LINK, &mac))
        return CMX_WHY_FORM;
    lifetime_s = cmx_get16(p->l4 + 6);
    if (!r && lifetime_s)
        r = learn_router(q);
    if (!r || !is_sender(p, r->mac))
        return CMX_WHY_WRONG_SERVER;
    r->expires = q->now_ms + lifetime_s * 1000u;
    return CMX_WHY_ND;
}

/* RFC 4861 section 7.1.1; from a peer, or one that looks whether our address is free. */
static cmx_why solicit_in(const struct cmx_question *q, const struct cmx_ip *target)
{
    const struct cmx_packet *p = q->p;
    const uint8_t *mac;

    if (!nd_options(p, ND_MIN, ND_OPTION_SOURCE_LINK, &mac))
        return CMX_WHY_FORM;
    if (!cmx_iface_owns(q->iface, target))
        return CMX_WHY_NOT_FOR_US;
    if (cmx_ip_is_any(&p->src.ip))
        return mac || !cmx_ip_is_multicast(&p->dst.ip) ? CMX_WHY_FORM : CMX_WHY_ND;
    return asks_us(q, p->eth ? p->eth + 6 : NULL, CMX_WHY_ND);
}

/* RFC 4861 section 7.1.2. */
static cmx_why advert_in(const struct cmx_question *q, const struct cmx_ip *target)
{
    const struct cmx_packet *p = q->p;
    const bool solicited = p->l4[4] & 0x40;
    const uint8_t *mac;

    if (cmx_ip_is_multicast(target) || (cmx_ip_is_multicast(&p->dst.ip) && solicited) ||
        !nd_options(p, ND_MIN, ND_OPTION_TARGET_LINK, &mac))
        return CMX_WHY_FORM;
    if (cmx_iface_owns(q->iface, target)) /* someone has the address that we want */
        return CMX_WHY_ND;
    if (!mac)
        mac = p->eth ? p->eth + 6 : q->iface->mac;
    return solicited && is_answer(q, target, mac) ? CMX_WHY_ND : CMX_WHY_UNASKED;
}

/* A link-local neighbour that asked us by right was seen as a peer's hardware address; no other one is asked back. */
static cmx_why neighbour_out(const struct cmx_question *q, uint8_t type, const struct cmx_ip *target)
{
    if (type == ND_NEIGHBOUR_SOLICIT)
        return we_ask(q, target, CMX_WHY_ND);
    return cmx_iface_owns(q->iface, target) ? CMX_WHY_ND : CMX_WHY_MARTIAN;
}

static cmx_why neighbour(const struct cmx_question *q, uint8_t type)
{
    struct cmx_ip target;

    if (q->p->l4_len < ND_MIN || q->p->l4_have < ND_MIN)
        return CMX_WHY_TRUNCATED;
    cmx_ip6(&target, q->p->l4 + 8);
    if (q->dir == CMX_OUT)
        return neighbour_out(q, type, &target);
    return type == ND_NEIGHBOUR_SOLICIT ? solicit_in(q, &target) : advert_in(q, &target);
}

/* RFC 4861: hop limit 255 shows that no router forwarded it; code 0. */
static cmx_why discovery(const struct cmx_question *q, uint8_t type)
{
    const struct cmx_packet *p = q->p;

    if (p->hops != 255 || p->l4[1] != 0)
        return CMX_WHY_FORM;
    if (type == ND_ROUTER_SOLICIT)
        return q->dir == CMX_OUT ? CMX_WHY_ND : CMX_WHY_ICMP;
    if (type == ND_ROUTER_ADVERT)
        return q->dir == CMX_IN ? router_advert(q) : CMX_WHY_ICMP;
    return neighbour(q, type);
}

/* Snooping switches forward multicast, and with it neighbour discovery, only to who reports (RFC 3810 section 5). */
static cmx_why listener(const struct cmx_question *q, uint8_t type)
{
    if (q->p->hops != 1)
        return CMX_WHY_FORM;
    if (type == MLD_QUERY)
        return q->dir == CMX_IN && known_router(q) ? CMX_WHY_ND : CMX_WHY_NOT_PEER;
    return q->dir == CMX_OUT && (type == MLD_REPORT || type == MLD_DONE || type == MLD2_REPORT) ? CMX_WHY_ND
                                                                                                : CMX_WHY_ICMP;
}

cmx_why cmx_rule_icmp6(const struct cmx_question *q)
{
    const uint8_t type = q->p->l4[0];

    if (!q->iso->config.ipv6)
        return CMX_WHY_NONE;
    if (q->p->router_alert)
        return listener(q, type);
    if (type >= ND_ROUTER_SOLICIT && type <= ND_NEIGHBOUR_ADVERT)
        return discovery(q, type);
    return type >= 1 && type <= ICMP6_ERROR_LAST ? cmx_rule_icmp_error(q) : CMX_WHY_ICMP;
}
