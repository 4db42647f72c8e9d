#include "cmxsafe/isolation/packet.h"

#include <string.h>

#define ETH_HEADER 14u
#define VLAN_TAG 4u
#define ARP_LEN 28u /* RFC 826 for Ethernet and IPv4 */
#define IPV4_HEADER 20u
#define IPV6_HEADER 40u
#define TCP_HEADER 20u
#define UDP_HEADER 8u

/* IPv6 extension headers (RFC 8200 section 4). */
#define EXT_HOP_BY_HOP 0
#define EXT_ROUTING 43
#define EXT_FRAGMENT 44
#define EXT_DESTINATION 60

#define OPTION6_PADN 1
#define OPTION6_ROUTER_ALERT 5

#ifdef __OPTIMIZE_SIZE__
CMX_SMALL uint32_t cmx_get16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

CMX_SMALL uint32_t cmx_get32(const uint8_t *p)
{
    return cmx_get16(p) << 16 | cmx_get16(p + 2);
}
#endif

bool cmx_mac_equal(const uint8_t a[6], const uint8_t b[6])
{
    return memcmp(a, b, 6) == 0;
}

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void cmx_ip4(struct cmx_ip *out, const uint8_t addr[4])
{
    memcpy(out->w, mapped, 12);
    memcpy(&out->w[3], addr, 4);
}

void cmx_ip6(struct cmx_ip *out, const uint8_t addr[16])
{
    memcpy(out->w, addr, 16);
}

bool cmx_ip_equal(const struct cmx_ip *a, const struct cmx_ip *b)
{
    return memcmp(a->w, b->w, 16) == 0;
}

bool cmx_ip_is_v4(const struct cmx_ip *a)
{
    return memcmp(a->w, mapped, 12) == 0;
}

bool cmx_ip_is_any(const struct cmx_ip *a)
{
    return !a->w[3] && (cmx_ip_is_v4(a) || !(a->w[0] | a->w[1] | a->w[2]));
}

bool cmx_ip_is_loopback(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return cmx_ip_is_v4(a) ? b[12] == 127 : !(a->w[0] | a->w[1] | a->w[2]) && cmx_get32(b + 12) == 1;
}

bool cmx_ip_is_link_local6(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

bool cmx_ip_is_multicast(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return cmx_ip_is_v4(a) ? b[12] >= 224 : b[0] == 0xff;
}

const uint8_t *cmx_options_next(struct cmx_options *o)
{
    while (o->left && o->at[0] == o->pad) {
        o->at++;
        o->left--;
    }
    if (o->left && o->at[0] != o->end) {
        const uint8_t *option = o->at;
        const uint32_t size = o->left > 1 ? option[1] + (uint32_t)o->header : 0;

        o->broken = size < 2 || size > o->left;
        if (!o->broken) {
            o->at += size;
            o->left -= size;
            return option;
        }
    }
    return NULL;
}

static void read_ports(struct cmx_packet *p)
{
    p->src.port = cmx_get16(p->l4);
    p->dst.port = cmx_get16(p->l4 + 2);
}

static cmx_why parse_tcp(struct cmx_packet *p)
{
    const uint32_t header = (p->l4[12] >> 4) * 4u;

    p->seq = cmx_get32(p->l4 + 4);
    p->ack = cmx_get32(p->l4 + 8);
    p->tcp_flags = p->l4[13] & CMX_TCP_KIND;
    p->window = cmx_get16(p->l4 + 14);
    p->payload = p->l4_len - header;
    if (header < TCP_HEADER || header > p->l4_len)
        return CMX_WHY_LENGTH;
    return header > p->l4_have ? CMX_WHY_TRUNCATED : CMX_WHY_NONE;
}

static cmx_why parse_transport(struct cmx_packet *p)
{
    const uint32_t icmp = p->version == 4 ? CMX_IP_ICMP : CMX_IP_ICMP6;

    if (p->proto != CMX_IP_TCP && p->proto != CMX_IP_UDP && p->proto != icmp)
        return CMX_WHY_PROTOCOL;
    if (p->l4_have < (p->proto == CMX_IP_TCP ? TCP_HEADER : UDP_HEADER)) /* and so is ICMP's */
        return CMX_WHY_TRUNCATED;
    if (p->proto == icmp)
        return CMX_WHY_NONE;
    read_ports(p);
    if (p->proto == CMX_IP_TCP)
        return parse_tcp(p);
    /* A datagram shorter than its IP packet hides bytes; longer ones lie. RFC 768 has no use for either. */
    p->payload = p->l4_len - UDP_HEADER;
    return cmx_get16(p->l4 + 4) != p->l4_len ? CMX_WHY_LENGTH : CMX_WHY_NONE;
}

/* What both versions' headers say alike. *at: the end of the fixed header, IPv4's options included. */
static cmx_why read_ip(struct cmx_packet *p, const uint8_t *d, size_t len, size_t *at)
{
    const bool v4 = p->version == 4;

    *at = v4 ? IPV4_HEADER : IPV6_HEADER;
    if (len < *at)
        return CMX_WHY_TRUNCATED;
    if (v4) {
        *at = (d[0] & 15u) * 4u;
        p->hops = d[8];
        p->proto = d[9];
        cmx_ip4(&p->src.ip, d + 12);
        cmx_ip4(&p->dst.ip, d + 16);
    } else {
        p->proto = d[6];
        p->hops = d[7];
        cmx_ip6(&p->src.ip, d + 8);
        cmx_ip6(&p->dst.ip, d + 24);
    }
    return d[0] >> 4 == p->version && *at >= IPV4_HEADER ? CMX_WHY_NONE : CMX_WHY_LENGTH;
}

/* Nothing here needs an option (RFC 791 section 3.1): only padding may stand between the header and what it carries. */
static cmx_why check_options4(const uint8_t *d, size_t end)
{
    size_t at = IPV4_HEADER;

    if (cmx_get16(d + 6) & 0x3fff) /* more fragments, or an offset */
        return CMX_WHY_FRAGMENT;
    while (at < end && d[at] == 1)
        at++;
    return at < end && d[at] != 0 ? CMX_WHY_IP_OPTION : CMX_WHY_NONE;
}

/* Of the extension headers (RFC 8200 section 4) only one is ever needed: that of a listener report, first in the chain,
 * with a router alert and padding in it and ICMPv6 behind it. *at: moved behind it. */
static cmx_why check_extensions6(struct cmx_packet *p, const uint8_t *d, size_t have, size_t *at)
{
    const uint8_t *header = d + *at, *option;
    struct cmx_options o = {.at = header + 2, .pad = 0, .end = 0, .header = 2};
    size_t size;

    if (p->proto == EXT_HOP_BY_HOP) {
        if (*at + 8 > have)
            return CMX_WHY_TRUNCATED;
        size = (header[1] + 1u) * 8u;
        if (size > have - *at)
            return CMX_WHY_TRUNCATED;
        o.left = (uint32_t)size - 2;
        while ((option = cmx_options_next(&o)) != NULL) {
            if (option[0] == OPTION6_ROUTER_ALERT && option[1] == 2 && !p->router_alert)
                p->router_alert = true;
            else if (option[0] != OPTION6_PADN)
                return CMX_WHY_IP_OPTION;
        }
        if (o.broken)
            return CMX_WHY_LENGTH;
        p->proto = header[0];
        *at += size;
        if (!p->router_alert)
            return CMX_WHY_IP_OPTION;
    }
    if (p->proto == EXT_FRAGMENT)
        return CMX_WHY_FRAGMENT;
    return p->proto == EXT_ROUTING || p->proto == EXT_DESTINATION || (p->router_alert && p->proto != CMX_IP_ICMP6)
               ? CMX_WHY_IP_OPTION
               : CMX_WHY_NONE;
}

/* len: bytes at d; total: bytes of the packet as the link counted them, padding included. */
static cmx_why parse_ip(struct cmx_packet *p, const uint8_t *d, size_t len, size_t total)
{
    const bool v4 = p->version == 4;
    size_t at, end, have;
    cmx_why why = read_ip(p, d, len, &at);

    if (why != CMX_WHY_NONE)
        return why;
    end = v4 ? cmx_get16(d + 2) : IPV6_HEADER + cmx_get16(d + 4);
    if (end < at || end > total)
        return CMX_WHY_LENGTH;
    have = len < end ? len : end;
    if (at > have)
        return CMX_WHY_TRUNCATED;
    /* RFC 4291 section 2.5.5.2: these never appear on a wire, and would read as IPv4 here. */
    if (!v4 && (cmx_ip_is_v4(&p->src.ip) || cmx_ip_is_v4(&p->dst.ip)))
        return CMX_WHY_MARTIAN;
    why = v4 ? check_options4(d, at) : check_extensions6(p, d, have, &at);
    if (why != CMX_WHY_NONE)
        return why;
    p->l4 = d + at;
    p->l4_len = (uint32_t)(end - at);
    p->l4_have = (uint32_t)(have - at);
    return parse_transport(p);
}

static cmx_why parse_arp(struct cmx_packet *p, const uint8_t *d, size_t len, size_t total)
{
    static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};

    if (len < ARP_LEN || total < ARP_LEN)
        return CMX_WHY_TRUNCATED;
    if (memcmp(d, ethernet_ipv4, sizeof ethernet_ipv4) != 0)
        return CMX_WHY_FORM;
    p->l4 = d;
    p->l4_len = p->l4_have = ARP_LEN;
    cmx_ip4(&p->src.ip, d + 14);
    cmx_ip4(&p->dst.ip, d + 24);
    return CMX_WHY_NONE;
}

/* Ethernet header and at most one 802.1Q tag. Returns the offset above them, 0 if they are not whole. */
static size_t parse_link(struct cmx_packet *p, const struct cmx_frame *f)
{
    size_t at = ETH_HEADER;

    if (f->len < at)
        return 0;
    p->eth = f->data;
    p->ethertype = cmx_get16(f->data + at - 2);
    if (p->ethertype == CMX_ETH_VLAN) {
        at += VLAN_TAG;
        if (f->len < at)
            return 0;
        p->vlan = cmx_get16(f->data + at - 4) & 0x0fff;
        p->ethertype = cmx_get16(f->data + at - 2);
    }
    p->version = p->ethertype == CMX_ETH_IPV4 ? 4 : p->ethertype == CMX_ETH_IPV6 ? 6 : 0;
    return at;
}

cmx_why cmx_packet_parse(struct cmx_packet *p, const struct cmx_frame *f)
{
    size_t at = 0, len, total;

    memset(p, 0, sizeof *p);
    if (!f->data || f->len > f->total)
        return CMX_WHY_LENGTH;
    if (f->kind == CMX_FRAME_ETHERNET) {
        at = parse_link(p, f);
        if (!at)
            return CMX_WHY_TRUNCATED;
    } else if (f->len) {
        p->version = f->data[0] >> 4 == 6 ? 6 : 4;
    }
    len = f->len - at;
    total = f->total - at;
    if (p->ethertype == CMX_ETH_ARP)
        return parse_arp(p, f->data + at, len, total);
    return p->version ? parse_ip(p, f->data + at, len, total) : CMX_WHY_ETHERTYPE;
}

cmx_why cmx_packet_parse_quoted(struct cmx_packet *p, const uint8_t *data, size_t len, uint32_t version)
{
    size_t at;
    cmx_why why;

    memset(p, 0, sizeof *p);
    p->version = version;
    why = read_ip(p, data, len, &at);
    if (why != CMX_WHY_NONE)
        return why;
    /* Only a first fragment has ports where they are read. */
    if (p->proto != CMX_IP_TCP || (version == 4 && (cmx_get16(data + 6) & 0x1fff)))
        return CMX_WHY_FORM;
    if (at + 8 > len)
        return CMX_WHY_TRUNCATED;
    p->l4 = data + at;
    read_ports(p);
    p->seq = cmx_get32(p->l4 + 4);
    return CMX_WHY_NONE;
}
