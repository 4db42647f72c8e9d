#include "cmxsafe/isolation/link.h"

#include <string.h>

#define ARP_REQUEST 1
#define ARP_REPLY 2

#define ICMP6_TOO_BIG 2
#define ICMP6_ERROR_LAST 4
#define IP6_MTU_MIN 1280 /* RFC 8200 section 5 */
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
#define ND_MIN 24u /* length of a neighbour message without options: 8 bytes and the target */

const union cmx_known_ip cmx_link_dhcp6_servers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2}};

/* True if the frame's source is mac, or if the link has no Ethernet header. */
static bool is_sender(const struct cmx_packet *p, const uint8_t mac[6])
{
    return !p->eth || cmx_packet_mac_equal(mac, p->eth + 6);
}

static struct cmx_neighbour *find(const struct cmx_question *q, const struct cmx_ip *ip)
{
    return cmx_neighbour_find(q->iso->neighbours, CMX_ISO_NEIGHBOURS_MAX, q->iface->index, ip);
}

/* Returns the interface's entry for ip. If there is none, takes an unused entry or, if all are in use, the one that
 * expires first. */
static struct cmx_neighbour *enter(struct cmx_neighbour *list, size_t n, uint8_t iface, const struct cmx_ip *ip)
{
    struct cmx_neighbour *place = cmx_neighbour_find(list, n, iface, ip), *o;

    if (place)
        return place;
    place = list;
    for (o = list + 1; o < list + n && place->state; o++)
        if (!o->state || cmx_after(place->expires, o->expires))
            place = o;
    memset(place, 0, sizeof *place);
    place->state = CMX_NEIGHBOUR_ASKED;
    place->ip = *ip;
    place->iface = iface;
    return place;
}

static void set_answer(struct cmx_neighbour *n, const uint8_t mac[6])
{
    memcpy(n->mac, mac, 6);
    n->state = CMX_NEIGHBOUR_ANSWERED;
}

void cmx_link_ask(const struct cmx_question *q, const struct cmx_ip *ip)
{
    struct cmx_neighbour *n = enter(q->iso->neighbours, CMX_ISO_NEIGHBOURS_MAX, q->iface->index, ip);

    n->expires = q->now_s + CMX_ISO_NEIGHBOUR_S;
}

/* Handles an answer that states mac as the hardware address of ip. If our request for ip has not expired, stores mac
 * and returns true. If closes is true, later answers to this request are refused. */
static bool take_answer(const struct cmx_question *q, const struct cmx_ip *ip, const uint8_t mac[6], bool closes)
{
    struct cmx_neighbour *n = find(q, ip);

    if (!n || !cmx_after(n->expires, q->now_s))
        return false;
    set_answer(n, mac);
    if (closes)
        n->expires = q->now_s;
    return true;
}

static bool has_answered(const struct cmx_neighbour *list, size_t n, const struct cmx_question *q, const uint8_t mac[6])
{
    const struct cmx_neighbour *end = list + n;

    for (; list < end; list++)
        if (list->state == CMX_NEIGHBOUR_ANSWERED && list->iface == q->iface->index &&
            cmx_packet_mac_equal(list->mac, mac))
            return true;
    return false;
}

/* True if a peer or router on this interface has answered from mac. */
static bool is_known_mac(const struct cmx_question *q, const uint8_t mac[6])
{
    return has_answered(q->iso->neighbours, CMX_ISO_NEIGHBOURS_MAX, q, mac) ||
           has_answered(q->iso->routers, CMX_ISO_ROUTERS_MAX, q, mac);
}

/* Returns `passes` if the sender of this packet may resolve one of our addresses, otherwise the reason for the refusal.
 * mac is the sender's hardware address, NULL if the link has none. The stack also learns a neighbour's hardware address
 * from requests that the neighbour sends. A peer's request therefore passes only from the hardware address in the
 * peer's last answer to us. */
static cmx_reason asks_us(const struct cmx_question *q, const uint8_t *mac, cmx_reason passes)
{
    const struct cmx_ip *from = &q->p->src.ip;
    const bool link_local = cmx_ip_is_link_local6(from);
    const struct cmx_neighbour *n = find(q, from);

    if (mac && n && n->state == CMX_NEIGHBOUR_ANSWERED && !cmx_packet_mac_equal(n->mac, mac))
        return CMX_REASON_WRONG_SERVER;
    /* A peer may also send requests from its link-local address; the hardware address then identifies the peer. After
     * our DHCPv6 request any DHCPv6 server may resolve our address, because it must do so before it can answer. */
    if (mac && link_local && (is_known_mac(q, mac) || take_answer(q, &cmx_link_dhcp6_servers.ip, mac, false)))
        return passes;
    if (!cmx_question_is_peer(q, from))
        return CMX_REASON_NOT_PEER;
    return !mac || (n && n->state == CMX_NEIGHBOUR_ANSWERED) ? passes : CMX_REASON_UNASKED;
}

/* Judges our request for the hardware address of target, which must be a peer, or our own address (to detect a
 * duplicate). */
static cmx_reason we_ask(const struct cmx_question *q, const struct cmx_ip *target, cmx_reason passes)
{
    if (cmx_iface_owns(q->iface, target))
        return passes;
    if (!cmx_question_is_peer(q, target))
        return CMX_REASON_NOT_PEER;
    cmx_link_ask(q, target);
    return passes;
}

static cmx_reason arp_out(const struct cmx_question *q, bool asks)
{
    const struct cmx_packet *p = q->p;
    const bool probe = cmx_ip_is_any(&p->src.ip);

    if (!cmx_packet_mac_equal(p->l4 + 8, q->iface->mac) || (!probe && !cmx_iface_owns(q->iface, &p->src.ip)))
        return CMX_REASON_MARTIAN;
    if (asks)
        return probe ? CMX_REASON_ARP : we_ask(q, &p->dst.ip, CMX_REASON_ARP); /* RFC 5227: probes and announcements */
    return cmx_question_is_peer(q, &p->dst.ip) || cmx_iface_owns(q->iface, &p->dst.ip) ? CMX_REASON_ARP
                                                                                       : CMX_REASON_NOT_PEER;
}

static cmx_reason arp_in(const struct cmx_question *q, bool asks)
{
    const struct cmx_packet *p = q->p;
    const uint8_t *mac = p->l4 + 8;

    if ((mac[0] & 1) || !p->eth || !is_sender(p, mac))
        return CMX_REASON_FORM;
    if (!cmx_iface_owns(q->iface, &p->dst.ip) || cmx_iface_owns(q->iface, &p->src.ip) ||
        (!asks && !cmx_packet_mac_equal(p->l4 + 18, q->iface->mac)))
        return CMX_REASON_NOT_FOR_US;
    if (!asks)
        return take_answer(q, &p->src.ip, mac, true) ? CMX_REASON_ARP : CMX_REASON_UNASKED;
    /* A probe for one of our addresses passes, so that the stack defends the address. */
    return cmx_ip_is_any(&p->src.ip) ? CMX_REASON_ARP : asks_us(q, mac, CMX_REASON_ARP);
}

cmx_reason cmx_link_arp(const struct cmx_question *q)
{
    const uint32_t op = cmx_packet_u16(q->p->l4 + 6);

    if (op != ARP_REQUEST && op != ARP_REPLY)
        return CMX_REASON_FORM;
    return q->dir == CMX_IN ? arp_in(q, op == ARP_REQUEST) : arp_out(q, op == ARP_REQUEST);
}

/* Checks the options (RFC 4861 section 4.6): no option may be empty or exceed the packet. Sets *mac to the link-layer
 * address in the option of this type, or to NULL. A source link-layer address must equal the frame's source. */
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

/* Returns the entry of this packet's sender if it is a stored router whose lifetime has not ended, otherwise NULL. */
static struct cmx_neighbour *known_router(const struct cmx_question *q)
{
    struct cmx_neighbour *r = cmx_question_router(q, &q->p->src.ip);

    return r && cmx_after(r->expires, q->now_s) ? r : NULL;
}

/* Stores the first router of an interface. Another router is accepted only after the stored router's lifetime has
 * ended. NULL: the interface has a router already, or all entries belong to routers of other interfaces. */
static struct cmx_neighbour *learn_router(const struct cmx_question *q)
{
    struct cmx_neighbour *r = q->iso->routers;
    bool room = false;

    for (; r < q->iso->routers + CMX_ISO_ROUTERS_MAX; r++) {
        if (!r->state || !cmx_after(r->expires, q->now_s))
            room = true;
        else if (r->iface == q->iface->index)
            return NULL;
    }
    if (!room)
        return NULL;
    r = enter(q->iso->routers, CMX_ISO_ROUTERS_MAX, q->iface->index, &q->p->src.ip);
    set_answer(r, q->p->eth ? q->p->eth + 6 : q->iface->mac);
    return r;
}

/* Checks and judges a router advertisement (RFC 4861 section 6.1.2). */
static cmx_reason router_advert(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_neighbour *r = known_router(q);
    const uint8_t *mac;
    uint32_t lifetime_s;

    if (!cmx_ip_is_link_local6(&p->src.ip) || p->l4_len < 16 || !nd_options(p, 16, ND_OPTION_SOURCE_LINK, &mac))
        return CMX_REASON_FORM;
    lifetime_s = cmx_packet_u16(p->l4 + 6);
    if (!r && lifetime_s)
        r = learn_router(q);
    if (!r || !is_sender(p, r->mac))
        return CMX_REASON_WRONG_SERVER;
    r->expires = q->now_s + lifetime_s;
    return CMX_REASON_ND;
}

/* Judges a neighbour solicitation (RFC 4861 section 7.1.1). It passes from a peer, or as duplicate address detection
 * for one of our addresses. */
static cmx_reason solicit_in(const struct cmx_question *q, const struct cmx_ip *target)
{
    const struct cmx_packet *p = q->p;
    const uint8_t *mac;

    if (!nd_options(p, ND_MIN, ND_OPTION_SOURCE_LINK, &mac))
        return CMX_REASON_FORM;
    if (!cmx_iface_owns(q->iface, target))
        return CMX_REASON_NOT_FOR_US;
    if (cmx_ip_is_any(&p->src.ip))
        return mac || !cmx_ip_is_multicast(&p->dst.ip) ? CMX_REASON_FORM : CMX_REASON_ND;
    return asks_us(q, p->eth ? p->eth + 6 : NULL, CMX_REASON_ND);
}

/* Checks and judges a neighbour advertisement (RFC 4861 section 7.1.2). None passes for one of our own addresses: lwIP
 * would give the address up until the next restart. */
static cmx_reason advert_in(const struct cmx_question *q, const struct cmx_ip *target)
{
    const struct cmx_packet *p = q->p;
    const bool solicited = p->l4[4] & 0x40;
    const uint8_t *mac;

    if (cmx_ip_is_multicast(target) || (cmx_ip_is_multicast(&p->dst.ip) && solicited) ||
        !nd_options(p, ND_MIN, ND_OPTION_TARGET_LINK, &mac))
        return CMX_REASON_FORM;
    if (!mac)
        mac = p->eth ? p->eth + 6 : q->iface->mac;
    return solicited && take_answer(q, target, mac, true) ? CMX_REASON_ND : CMX_REASON_UNASKED;
}

/* Solicitations pass only for peers, and for our own addresses (to detect a duplicate). Advertisements pass only for
 * our own addresses. */
static cmx_reason neighbour_out(const struct cmx_question *q, uint8_t type, const struct cmx_ip *target)
{
    if (type == ND_NEIGHBOUR_SOLICIT)
        return we_ask(q, target, CMX_REASON_ND);
    return cmx_iface_owns(q->iface, target) ? CMX_REASON_ND : CMX_REASON_MARTIAN;
}

static cmx_reason neighbour(const struct cmx_question *q, uint8_t type)
{
    struct cmx_ip target;

    if (q->p->l4_len < ND_MIN || q->p->l4_have < ND_MIN)
        return CMX_REASON_TRUNCATED;
    cmx_ip_v6(&target, q->p->l4 + 8);
    if (q->dir == CMX_OUT)
        return neighbour_out(q, type, &target);
    return type == ND_NEIGHBOUR_SOLICIT ? solicit_in(q, &target) : advert_in(q, &target);
}

/* RFC 4861: a hop limit of 255 proves that no router forwarded the packet; the code must be 0. */
static cmx_reason discovery(const struct cmx_question *q, uint8_t type)
{
    const struct cmx_packet *p = q->p;

    if (p->hops != 255 || p->l4[1] != 0)
        return CMX_REASON_FORM;
    if (type == ND_ROUTER_SOLICIT)
        return q->dir == CMX_OUT ? CMX_REASON_ND : CMX_REASON_ICMP;
    if (type == ND_ROUTER_ADVERT)
        return q->dir == CMX_IN ? router_advert(q) : CMX_REASON_ICMP;
    return neighbour(q, type);
}

/* Judges multicast listener messages (RFC 3810 section 5). Our reports must pass, because a snooping switch forwards
 * multicast, including neighbour discovery, only to hosts that report the group. */
static cmx_reason listener(const struct cmx_question *q, uint8_t type)
{
    if (q->p->hops != 1)
        return CMX_REASON_FORM;
    if (type == MLD_QUERY)
        return q->dir == CMX_IN && known_router(q) ? CMX_REASON_ND : CMX_REASON_NOT_PEER;
    return q->dir == CMX_OUT && (type == MLD_REPORT || type == MLD_DONE || type == MLD2_REPORT) ? CMX_REASON_ND
                                                                                                : CMX_REASON_ICMP;
}

cmx_reason cmx_link_icmp6(const struct cmx_question *q)
{
    const uint8_t type = q->p->l4[0];

    if (!q->iso->config.ipv6)
        return CMX_REASON_NONE;
    if (q->p->router_alert)
        return listener(q, type);
    if (type >= ND_ROUTER_SOLICIT && type <= ND_NEIGHBOUR_ADVERT)
        return discovery(q, type);
    /* lwIP would store any path MTU until the next restart; with one of 60 bytes or less no segment carries data. */
    if (type == ICMP6_TOO_BIG && cmx_packet_u32(q->p->l4 + 4) < IP6_MTU_MIN)
        return CMX_REASON_FORM;
    return type >= 1 && type <= ICMP6_ERROR_LAST ? cmx_rule_icmp_error(q) : CMX_REASON_ICMP;
}

static void seed(struct cmx_neighbour *list, size_t size, const struct cmx_filter_neighbour *n, uint32_t expires)
{
    struct cmx_neighbour *to = enter(list, size, n->iface, &n->ip);

    to->expires = expires;
    set_answer(to, n->mac);
}

void cmx_isolation_neighbour(struct cmx_isolation *iso, const struct cmx_filter_neighbour *n, uint32_t now_s)
{
    seed(iso->neighbours, CMX_ISO_NEIGHBOURS_MAX, n, now_s);
    if (n->lifetime_s)
        seed(iso->routers, CMX_ISO_ROUTERS_MAX, n, now_s + n->lifetime_s);
}
