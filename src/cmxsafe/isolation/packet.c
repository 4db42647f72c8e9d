#include "cmxsafe/isolation/packet.h"

#include <string.h>

#define ETH_HEADER 14u
#define VLAN_TAG 4u
#define ARP_LEN 28u /* RFC 826 for Ethernet and IPv4 */
#define IPV4_HEADER 20u
#define IPV6_HEADER 40u
#define TCP_HEADER 20u
#define UDP_HEADER 8u
#define ICMP_HEADER 8u

/* IPv6 extension headers (RFC 8200 section 4). */
#define EXT_HOP_BY_HOP 0
#define EXT_ROUTING 43
#define EXT_FRAGMENT 44
#define EXT_DESTINATION 60
/* More than this many in a chain serves no purpose but to hide what comes after. */
#define EXT_MAX 4

#ifdef __OPTIMIZE_SIZE__
__attribute__((noinline)) uint32_t cmx_get16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

__attribute__((noinline)) uint32_t cmx_get32(const uint8_t *p)
{
    return cmx_get16(p) << 16 | cmx_get16(p + 2);
}
#endif

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
    static const uint8_t one[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    const uint8_t *b = (const uint8_t *)a->w;

    return cmx_ip_is_v4(a) ? b[12] == 127 : memcmp(b, one, 16) == 0;
}

bool cmx_ip_is_link_local6(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
}

bool cmx_ip_is_multicast(const struct cmx_ip *a)
{
    const uint8_t *b = (const uint8_t *)a->w;

    return cmx_ip_is_v4(a) ? (b[12] & 0xf0) == 0xe0 || a->w[3] == 0xffffffff : b[0] == 0xff;
}

const uint8_t *cmx_ip_bytes(const struct cmx_ip *a, size_t *len)
{
    *len = cmx_ip_is_v4(a) ? 4 : 16;
    return (const uint8_t *)a->w + 16 - *len;
}

static cmx_why parse_tcp(struct cmx_packet *p)
{
    uint32_t header;

    if (p->l4_len < TCP_HEADER || p->l4_have < TCP_HEADER)
        return CMX_WHY_TRUNCATED;
    p->sport = cmx_get16(p->l4);
    p->dport = cmx_get16(p->l4 + 2);
    p->seq = cmx_get32(p->l4 + 4);
    p->ack = cmx_get32(p->l4 + 8);
    p->tcp_flags = p->l4[13];
    p->window = cmx_get16(p->l4 + 14);
    header = (p->l4[12] >> 4) * 4u;
    if (header < TCP_HEADER || header > p->l4_len)
        return CMX_WHY_LENGTH;
    if (header > p->l4_have)
        return CMX_WHY_TRUNCATED;
    p->payload = p->l4_len - header;
    return CMX_WHY_NONE;
}

static cmx_why parse_udp(struct cmx_packet *p)
{
    if (p->l4_len < UDP_HEADER || p->l4_have < UDP_HEADER)
        return CMX_WHY_TRUNCATED;
    p->sport = cmx_get16(p->l4);
    p->dport = cmx_get16(p->l4 + 2);
    /* A datagram shorter than its IP packet hides bytes; longer ones lie. RFC 768 has no use for either. */
    if (cmx_get16(p->l4 + 4) != p->l4_len)
        return CMX_WHY_LENGTH;
    p->payload = p->l4_len - UDP_HEADER;
    return CMX_WHY_NONE;
}

static cmx_why parse_transport(struct cmx_packet *p)
{
    switch (p->proto) {
    case CMX_IP_TCP:
        return parse_tcp(p);
    case CMX_IP_UDP:
        return parse_udp(p);
    case CMX_IP_ICMP:
        if (p->ethertype != CMX_ETH_IPV4)
            return CMX_WHY_PROTOCOL;
        break;
    case CMX_IP_ICMP6:
        if (p->ethertype != CMX_ETH_IPV6)
            return CMX_WHY_PROTOCOL;
        break;
    default:
        return CMX_WHY_PROTOCOL;
    }
    return p->l4_len < ICMP_HEADER || p->l4_have < ICMP_HEADER ? CMX_WHY_TRUNCATED : CMX_WHY_NONE;
}

/* RFC 791 section 3.1: copied flag, class and number in one byte; only End and No Operation stand alone. */
static cmx_why parse_options4(struct cmx_packet *p, const uint8_t *o, size_t len)
{
    size_t i = 0;

    while (i < len && o[i] != 0) {
        if (o[i] == 1) {
            i++;
            continue;
        }
        p->extended = true;
        if (i + 2 > len || o[i + 1] < 2 || o[i + 1] > len - i)
            return CMX_WHY_LENGTH;
        i += o[i + 1];
    }
    return CMX_WHY_NONE;
}

static void set_l4(struct cmx_packet *p, const uint8_t *l4, size_t len, size_t have)
{
    p->l4 = l4;
    p->l4_len = (uint32_t)len;
    p->l4_have = (uint32_t)(have < len ? have : len);
}

/* len: bytes at d; total: bytes of the packet as the link counted them, padding included. */
static cmx_why parse_ipv4(struct cmx_packet *p, const uint8_t *d, size_t len, size_t total)
{
    size_t header, packet;
    cmx_why why;

    if (len < IPV4_HEADER)
        return CMX_WHY_TRUNCATED;
    header = (d[0] & 15u) * 4u;
    packet = cmx_get16(d + 2);
    p->hops = d[8];
    p->proto = d[9];
    cmx_ip4(&p->src, d + 12);
    cmx_ip4(&p->dst, d + 16);
    if (d[0] >> 4 != 4 || header < IPV4_HEADER || packet < header || packet > total)
        return CMX_WHY_LENGTH;
    if (header > len)
        return CMX_WHY_TRUNCATED;
    if (cmx_get16(d + 6) & 0x3fff) /* more fragments, or an offset */
        return CMX_WHY_FRAGMENT;
    why = parse_options4(p, d + IPV4_HEADER, header - IPV4_HEADER);
    if (why != CMX_WHY_NONE)
        return why;
    set_l4(p, d + header, packet - header, len - header);
    return parse_transport(p);
}

/* Options of a hop-by-hop or destination header (RFC 8200 section 4.2): padding passes unremarked. */
static cmx_why parse_options6(struct cmx_packet *p, const uint8_t *o, size_t len, bool hop_by_hop)
{
    size_t i = 0;
    bool alert = false;

    while (i < len) {
        if (o[i] == 0) {
            i++;
            continue;
        }
        if (i + 2 > len || o[i + 1] > len - i - 2)
            return CMX_WHY_LENGTH;
        if (hop_by_hop && o[i] == 5 && o[i + 1] == 2 && !alert) /* router alert */
            alert = true;
        else if (o[i] != 1)
            p->extended = true;
        i += 2u + o[i + 1];
    }
    /* A header that only pads is not needed by anyone either. */
    if (alert)
        p->router_alert = true;
    else
        p->extended = true;
    return CMX_WHY_NONE;
}

/* Walks the chain to the upper protocol. *at: the offset of the first header after IPv6's own, then of the upper one.
 */
static cmx_why walk_extensions(struct cmx_packet *p, const uint8_t *d, size_t len, size_t end, size_t *at)
{
    unsigned n;
    cmx_why why;

    for (n = 0; n <= EXT_MAX; n++) {
        bool first = n == 0;
        size_t size;

        if (p->proto == EXT_FRAGMENT)
            return CMX_WHY_FRAGMENT;
        if (p->proto != EXT_HOP_BY_HOP && p->proto != EXT_DESTINATION && p->proto != EXT_ROUTING)
            return CMX_WHY_NONE;
        if (*at + 8 > end || *at + 8 > len)
            return CMX_WHY_TRUNCATED;
        size = (d[*at + 1] + 1u) * 8u;
        if (size > end - *at)
            return CMX_WHY_LENGTH;
        if (size > len - *at)
            return CMX_WHY_TRUNCATED;
        if (p->proto == EXT_ROUTING || (p->proto == EXT_HOP_BY_HOP && !first))
            return CMX_WHY_IP_OPTION;
        why = parse_options6(p, d + *at + 2, size - 2, p->proto == EXT_HOP_BY_HOP);
        if (why != CMX_WHY_NONE)
            return why;
        p->proto = d[*at];
        *at += size;
    }
    return CMX_WHY_IP_OPTION;
}

static cmx_why parse_ipv6(struct cmx_packet *p, const uint8_t *d, size_t len, size_t total)
{
    size_t at = IPV6_HEADER, end;
    cmx_why why;

    if (len < IPV6_HEADER)
        return CMX_WHY_TRUNCATED;
    p->proto = d[6];
    p->hops = d[7];
    cmx_ip6(&p->src, d + 8);
    cmx_ip6(&p->dst, d + 24);
    end = IPV6_HEADER + cmx_get16(d + 4);
    if (d[0] >> 4 != 6 || end > total)
        return CMX_WHY_LENGTH;
    /* RFC 4291 section 2.5.5.2: these never appear on a wire, and would read as IPv4 here. */
    if (cmx_ip_is_v4(&p->src) || cmx_ip_is_v4(&p->dst))
        return CMX_WHY_MARTIAN;
    why = walk_extensions(p, d, len, end, &at);
    if (why != CMX_WHY_NONE)
        return why;
    set_l4(p, d + at, end - at, len - at);
    return parse_transport(p);
}

static cmx_why parse_arp(struct cmx_packet *p, const uint8_t *d, size_t len, size_t total)
{
    static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};

    if (len < ARP_LEN || total < ARP_LEN)
        return CMX_WHY_TRUNCATED;
    if (memcmp(d, ethernet_ipv4, sizeof ethernet_ipv4) != 0)
        return CMX_WHY_FORM;
    set_l4(p, d, ARP_LEN, len);
    cmx_ip4(&p->src, d + 14);
    cmx_ip4(&p->dst, d + 24);
    return CMX_WHY_NONE;
}

/* Ethernet header and at most one 802.1Q tag. Returns the offset above them, 0 if they are not whole. */
static size_t parse_link(struct cmx_packet *p, const struct cmx_frame *f)
{
    if (f->len < ETH_HEADER)
        return 0;
    p->eth = f->data;
    p->ethertype = cmx_get16(f->data + 12);
    if (p->ethertype != CMX_ETH_VLAN)
        return ETH_HEADER;
    if (f->len < ETH_HEADER + VLAN_TAG)
        return 0;
    p->vlan = cmx_get16(f->data + 14) & 0x0fff;
    p->ethertype = cmx_get16(f->data + 16);
    return ETH_HEADER + VLAN_TAG;
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
        p->ethertype = f->data[0] >> 4 == 6 ? CMX_ETH_IPV6 : CMX_ETH_IPV4;
    }
    len = f->len - at;
    total = f->total - at;
    switch (p->ethertype) {
    case CMX_ETH_IPV4:
        return parse_ipv4(p, f->data + at, len, total);
    case CMX_ETH_IPV6:
        return parse_ipv6(p, f->data + at, len, total);
    case CMX_ETH_ARP:
        return parse_arp(p, f->data + at, len, total);
    default:
        return CMX_WHY_ETHERTYPE;
    }
}

cmx_why cmx_packet_parse_quoted(struct cmx_packet *p, const uint8_t *data, size_t len, unsigned version)
{
    size_t header = IPV6_HEADER;

    memset(p, 0, sizeof *p);
    if (len < (version == 4 ? IPV4_HEADER : IPV6_HEADER))
        return CMX_WHY_TRUNCATED;
    if (data[0] >> 4 != version)
        return CMX_WHY_FORM;
    if (version == 4) {
        header = (data[0] & 15u) * 4u;
        p->proto = data[9];
        cmx_ip4(&p->src, data + 12);
        cmx_ip4(&p->dst, data + 16);
    } else {
        p->proto = data[6];
        cmx_ip6(&p->src, data + 8);
        cmx_ip6(&p->dst, data + 24);
    }
    /* Only a first fragment has ports where they are read. */
    if (header < IPV4_HEADER || p->proto != CMX_IP_TCP || (version == 4 && (cmx_get16(data + 6) & 0x1fff)))
        return CMX_WHY_FORM;
    if (header + 8 > len)
        return CMX_WHY_TRUNCATED;
    p->sport = cmx_get16(data + header);
    p->dport = cmx_get16(data + header + 2);
    p->seq = cmx_get32(data + header + 4);
    return CMX_WHY_NONE;
}
