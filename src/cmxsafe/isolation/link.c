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

static bool mac_is_multicast(const uint8_t mac[6])
{
    return mac[0] & 1;
}

static struct cmx_neighbour *find(const struct cmx_question *q, const struct cmx_ip *ip)
{
    size_t i;

    for (i = 0; i < CMX_ISO_NEIGHBOURS_MAX; i++) {
        struct cmx_neighbour *n = &q->iso->neighbours[i];

        if (n->used && n->iface == q->iface->index && cmx_ip_equal(&n->ip, ip))
            return n;
    }
    return NULL;
}

/* Remembers a question of ours; the place that was asked longest ago goes. What a peer answered before is kept until it
 * answers anew. */
static void ask(const struct cmx_question *q, const struct cmx_ip *ip)
{
    struct cmx_neighbour *n = find(q, ip);
    size_t i;

    if (!n) {
        n = &q->iso->neighbours[0];
        for (i = 0; i < CMX_ISO_NEIGHBOURS_MAX && n->used; i++)
            if (!q->iso->neighbours[i].used || cmx_after(n->expires, q->iso->neighbours[i].expires))
                n = &q->iso->neighbours[i];
        memset(n, 0, sizeof *n);
        n->used = true;
        n->ip = *ip;
        n->iface = q->iface->index;
    }
    n->expires = q->now_ms + CMX_ISO_NEIGHBOUR_MS;
}

/* Did we ask for ip, and not long ago? Then mac is its answer. */
static bool answer(const struct cmx_question *q, const struct cmx_ip *ip, const uint8_t mac[6])
{
    struct cmx_neighbour *n = find(q, ip);

    if (!n || !cmx_after(n->expires, q->now_ms))
        return false;
    memcpy(n->mac, mac, 6);
    n->answered = true;
    return true;
}

/* Has ip answered before from another hardware address? Whoever uses its name without being asked is then a liar. */
static bool is_impostor(const struct cmx_question *q, const struct cmx_ip *ip, const uint8_t mac[6])
{
    const struct cmx_neighbour *n = find(q, ip);

    return n && n->answered && memcmp(n->mac, mac, 6) != 0;
}

static bool is_known_mac(const struct cmx_question *q, const uint8_t mac[6])
{
    size_t i;

    for (i = 0; i < CMX_ISO_NEIGHBOURS_MAX; i++) {
        const struct cmx_neighbour *n = &q->iso->neighbours[i];

        if (n->used && n->answered && n->iface == q->iface->index && memcmp(n->mac, mac, 6) == 0)
            return true;
    }
    return false;
}

static cmx_why arp_out(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const bool probe = cmx_ip_is_any(&p->src);

    if (memcmp(p->l4 + 8, q->iface->mac, 6) != 0 || (!probe && !cmx_iface_owns(q->iface, &p->src)))
        return CMX_WHY_MARTIAN;
    if (cmx_get16(p->l4 + 6) == ARP_REPLY)
        return cmx_is_peer(q, &p->dst) || cmx_iface_owns(q->iface, &p->dst) ? CMX_WHY_ARP : CMX_WHY_NOT_PEER;
    if (cmx_iface_owns(q->iface, &p->dst) || probe) /* RFC 5227: probes and announcements */
        return CMX_WHY_ARP;
    if (!cmx_is_peer(q, &p->dst))
        return CMX_WHY_NOT_PEER;
    ask(q, &p->dst);
    return CMX_WHY_ARP;
}

static cmx_why arp_in(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const uint8_t *mac = p->l4 + 8;

    if (mac_is_multicast(mac) || !p->eth || memcmp(mac, p->eth + 6, 6) != 0)
        return CMX_WHY_FORM;
    if (!cmx_iface_owns(q->iface, &p->dst) || cmx_iface_owns(q->iface, &p->src))
        return CMX_WHY_NOT_FOR_US;
    if (cmx_get16(p->l4 + 6) == ARP_REPLY) {
        if (memcmp(p->l4 + 18, q->iface->mac, 6) != 0)
            return CMX_WHY_NOT_FOR_US;
        return answer(q, &p->src, mac) ? CMX_WHY_ARP : CMX_WHY_UNASKED;
    }
    if (cmx_ip_is_any(&p->src)) /* a probe for an address of ours: defend it */
        return CMX_WHY_ARP;
    if (!cmx_is_peer(q, &p->src))
        return CMX_WHY_NOT_PEER;
    return is_impostor(q, &p->src, mac) ? CMX_WHY_WRONG_SERVER : CMX_WHY_ARP;
}

cmx_why cmx_rule_arp(const struct cmx_question *q)
{
    const uint32_t op = cmx_get16(q->p->l4 + 6);

    if (op != ARP_REQUEST && op != ARP_REPLY)
        return CMX_WHY_FORM;
    return q->dir == CMX_IN ? arp_in(q) : arp_out(q);
}

/* ND options (RFC 4861 section 4.6): none empty, none past the end; the link-layer address, if any, of this type. */
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
    return true;
}

static struct cmx_router *known_router(const struct cmx_question *q, const struct cmx_ip *ip)
{
    size_t i;

    for (i = 0; i < CMX_ISO_ROUTERS_MAX; i++) {
        struct cmx_router *r = &q->iso->routers[i];

        if (r->used && r->iface == q->iface->index && cmx_after(r->expires, q->now_ms) && cmx_ip_equal(&r->ip, ip))
            return r;
    }
    return NULL;
}

/* The first router of an interface is taken; another one only when that one's lifetime is over. */
static struct cmx_router *learn_router(const struct cmx_question *q)
{
    struct cmx_router *free_one = NULL;
    size_t i;

    for (i = 0; i < CMX_ISO_ROUTERS_MAX; i++) {
        struct cmx_router *r = &q->iso->routers[i];
        const bool live = r->used && cmx_after(r->expires, q->now_ms);

        if (live && r->iface == q->iface->index)
            return NULL;
        if (!live)
            free_one = r;
    }
    if (!free_one)
        return NULL;
    memset(free_one, 0, sizeof *free_one);
    free_one->used = true;
    free_one->ip = q->p->src;
    free_one->iface = q->iface->index;
    if (q->p->eth)
        memcpy(free_one->mac, q->p->eth + 6, 6);
    return free_one;
}

/* RFC 4861 section 6.1.2. */
static cmx_why router_advert(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_router *r = known_router(q, &p->src);
    const uint8_t *mac;
    uint32_t lifetime_s;

    if (!cmx_ip_is_link_local6(&p->src) || p->l4_len < 16 || !nd_options(p, 16, ND_OPTION_SOURCE_LINK, &mac))
        return CMX_WHY_FORM;
    if (mac && p->eth && memcmp(mac, p->eth + 6, 6) != 0)
        return CMX_WHY_FORM;
    lifetime_s = cmx_get16(p->l4 + 6);
    if (!r && lifetime_s)
        r = learn_router(q);
    if (!r || (p->eth && memcmp(r->mac, p->eth + 6, 6) != 0))
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
    if (cmx_ip_is_any(&p->src))
        return mac || !cmx_ip_is_multicast(&p->dst) ? CMX_WHY_FORM : CMX_WHY_ND;
    if (mac && p->eth && memcmp(mac, p->eth + 6, 6) != 0)
        return CMX_WHY_FORM;
    /* A peer may also ask from its link-local address: it is then known by its hardware address. */
    if (!cmx_is_peer(q, &p->src) && !(cmx_ip_is_link_local6(&p->src) && p->eth && is_known_mac(q, p->eth + 6)))
        return CMX_WHY_NOT_PEER;
    return p->eth && is_impostor(q, &p->src, p->eth + 6) ? CMX_WHY_WRONG_SERVER : CMX_WHY_ND;
}

/* RFC 4861 section 7.1.2. */
static cmx_why advert_in(const struct cmx_question *q, const struct cmx_ip *target)
{
    const struct cmx_packet *p = q->p;
    const bool solicited = p->l4[4] & 0x40;
    const uint8_t *mac;

    if (cmx_ip_is_multicast(target) || (cmx_ip_is_multicast(&p->dst) && solicited) ||
        !nd_options(p, ND_MIN, ND_OPTION_TARGET_LINK, &mac))
        return CMX_WHY_FORM;
    if (cmx_iface_owns(q->iface, target)) /* someone has the address that we want */
        return CMX_WHY_ND;
    if (!solicited)
        return CMX_WHY_UNASKED;
    if (!mac)
        mac = p->eth ? p->eth + 6 : q->iface->mac;
    return answer(q, target, mac) ? CMX_WHY_ND : CMX_WHY_UNASKED;
}

static cmx_why neighbour_out(const struct cmx_question *q, uint8_t type, const struct cmx_ip *target)
{
    if (type == ND_NEIGHBOUR_ADVERT || cmx_iface_owns(q->iface, target))
        return cmx_iface_owns(q->iface, target) ? CMX_WHY_ND : CMX_WHY_MARTIAN;
    /* A link-local neighbour that asked us by right was seen as a peer's hardware address; no other one is asked back.
     */
    if (!cmx_is_peer(q, target))
        return CMX_WHY_NOT_PEER;
    ask(q, target);
    return CMX_WHY_ND;
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

    if (p->hops != 255 || p->l4[1] != 0 || p->extended || p->router_alert)
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
    const struct cmx_packet *p = q->p;

    if (p->hops != 1 || !p->router_alert || p->extended)
        return CMX_WHY_FORM;
    if (type == MLD_QUERY)
        return q->dir == CMX_IN && known_router(q, &p->src) ? CMX_WHY_ND : CMX_WHY_NOT_PEER;
    return q->dir == CMX_OUT ? CMX_WHY_ND : CMX_WHY_ICMP;
}

cmx_why cmx_rule_icmp6(const struct cmx_question *q)
{
    const uint8_t type = q->p->l4[0];

    if (!q->iso->config.ipv6)
        return CMX_WHY_NONE;
    switch (type) {
    case ND_ROUTER_SOLICIT:
    case ND_ROUTER_ADVERT:
    case ND_NEIGHBOUR_SOLICIT:
    case ND_NEIGHBOUR_ADVERT:
        return discovery(q, type);
    case MLD_QUERY:
    case MLD_REPORT:
    case MLD_DONE:
    case MLD2_REPORT:
        return listener(q, type);
    default:
        break;
    }
    if (q->p->extended || q->p->router_alert)
        return CMX_WHY_IP_OPTION;
    return type >= 1 && type <= ICMP6_ERROR_LAST ? cmx_rule_icmp_error(q, 6) : CMX_WHY_ICMP;
}
