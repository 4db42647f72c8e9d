#include "cmxsafe/isolation/packet.h"

#include <string.h>

#define ETH_HEADER 14u
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
uint32_t cmx_packet_u16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

uint32_t cmx_packet_u32(const uint8_t *p)
{
    return cmx_packet_u16(p) << 16 | cmx_packet_u16(p + 2);
}
#endif

bool cmx_ip_in(const struct cmx_ip *list, size_t n, const struct cmx_ip *ip)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (cmx_ip_equal(&list[i], ip))
            return true;
    return false;
}

bool cmx_packet_mac_equal(const uint8_t a[6], const uint8_t b[6])
{
    return memcmp(a, b, 6) == 0;
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
    p->src.port = cmx_packet_u16(p->l4);
    p->dst.port = cmx_packet_u16(p->l4 + 2);
}

static cmx_reason parse_tcp(struct cmx_packet *p)
{
    const uint32_t header = (p->l4[12] >> 4) * 4u;

    p->seq = cmx_packet_u32(p->l4 + 4);
    p->ack = cmx_packet_u32(p->l4 + 8);
    p->tcp_flags = p->l4[13] & CMX_TCP_KIND;
    p->window = cmx_packet_u16(p->l4 + 14);
    p->payload = p->l4_len - header;
    if (header < TCP_HEADER || header > p->l4_len)
        return CMX_REASON_LENGTH;
    return header > p->l4_have ? CMX_REASON_TRUNCATED : CMX_REASON_NONE;
}

static cmx_reason parse_transport(struct cmx_packet *p)
{
    const uint32_t icmp = p->version == 4 ? CMX_IP_ICMP : CMX_IP_ICMP6;

    if (p->proto != CMX_IP_TCP && p->proto != CMX_IP_UDP && p->proto != icmp)
        return CMX_REASON_PROTOCOL;
    if (p->l4_have < (p->proto == CMX_IP_TCP ? TCP_HEADER : UDP_HEADER)) /* ICMP's minimum is 8 bytes, like UDP's */
        return CMX_REASON_TRUNCATED;
    if (p->proto == icmp)
        return CMX_REASON_NONE;
    read_ports(p);
    if (p->proto == CMX_IP_TCP)
        return parse_tcp(p);
    /* The UDP length must equal the IP payload's length: a shorter one hides bytes, a longer one is invalid. */
    p->payload = p->l4_len - UDP_HEADER;
    return cmx_packet_u16(p->l4 + 4) != p->l4_len ? CMX_REASON_LENGTH : CMX_REASON_NONE;
}

/* Parses the fields that both IP versions have. *at: the end of the header, which for IPv4 includes the options. */
static cmx_reason read_ip(struct cmx_packet *p, const uint8_t *d, size_t len, size_t *at)
{
    const bool v4 = p->version == 4;

    *at = v4 ? IPV4_HEADER : IPV6_HEADER;
    if (len < *at)
        return CMX_REASON_TRUNCATED;
    if (v4) {
        *at = (d[0] & 15u) * 4u;
        p->hops = d[8];
        p->proto = d[9];
        cmx_ip_v4(&p->src.ip, d + 12);
        cmx_ip_v4(&p->dst.ip, d + 16);
    } else {
        p->proto = d[6];
        p->hops = d[7];
        cmx_ip_v6(&p->src.ip, d + 8);
        cmx_ip_v6(&p->dst.ip, d + 24);
    }
    /* No segment may match the unspecified address, which a flow has while its local address is not known. */
    if (p->proto == CMX_IP_TCP && !(cmx_ip_is_host(&p->src.ip) && cmx_ip_is_host(&p->dst.ip)))
        return CMX_REASON_MARTIAN;
    return d[0] >> 4 == p->version && *at >= IPV4_HEADER ? CMX_REASON_NONE : CMX_REASON_LENGTH;
}

/* No permitted protocol needs an IPv4 option (RFC 791 section 3.1): only padding may follow the fixed header. */
static cmx_reason check_options4(const uint8_t *d, size_t end)
{
    size_t at = IPV4_HEADER;

    if (cmx_packet_u16(d + 6) & 0x3fff) /* the flag `more fragments` is set, or there is an offset */
        return CMX_REASON_FRAGMENT;
    while (at < end && d[at] == 1)
        at++;
    return at < end && d[at] != 0 ? CMX_REASON_IP_OPTION : CMX_REASON_NONE;
}

/* Only one extension header (RFC 8200 section 4) is needed: the hop-by-hop header of a listener report. It must come
 * first, contain one router alert and otherwise only padding, and be followed by ICMPv6. *at is moved past it. */
static cmx_reason check_extensions6(struct cmx_packet *p, const uint8_t *d, size_t have, size_t *at)
{
    const uint8_t *header = d + *at, *option;
    struct cmx_options o = {.at = header + 2, .pad = 0, .end = 0, .header = 2};
    size_t size;

    if (p->proto == EXT_HOP_BY_HOP) {
        if (*at + 8 > have)
            return CMX_REASON_TRUNCATED;
        size = (header[1] + 1u) * 8u;
        if (size > have - *at)
            return CMX_REASON_TRUNCATED;
        o.left = (uint32_t)size - 2;
        while ((option = cmx_options_next(&o)) != NULL) {
            if (option[0] == OPTION6_ROUTER_ALERT && option[1] == 2 && !p->router_alert)
                p->router_alert = true;
            else if (option[0] != OPTION6_PADN)
                return CMX_REASON_IP_OPTION;
        }
        if (o.broken)
            return CMX_REASON_LENGTH;
        p->proto = header[0];
        *at += size;
        if (!p->router_alert)
            return CMX_REASON_IP_OPTION;
    }
    if (p->proto == EXT_FRAGMENT)
        return CMX_REASON_FRAGMENT;
    return p->proto == EXT_ROUTING || p->proto == EXT_DESTINATION || (p->router_alert && p->proto != CMX_IP_ICMP6)
               ? CMX_REASON_IP_OPTION
               : CMX_REASON_NONE;
}

/* Parses an IP packet. len: bytes at d; total: bytes of the packet that the link delivered, including padding. */
static cmx_reason parse_ip(struct cmx_packet *p, const uint8_t *d, size_t len, size_t total)
{
    const bool v4 = p->version == 4;
    size_t at, end, have;
    cmx_reason why = read_ip(p, d, len, &at);

    if (why != CMX_REASON_NONE)
        return why;
    end = v4 ? cmx_packet_u16(d + 2) : IPV6_HEADER + cmx_packet_u16(d + 4);
    if (end < at || end > total)
        return CMX_REASON_LENGTH;
    have = len < end ? len : end;
    if (at > have)
        return CMX_REASON_TRUNCATED;
    /* RFC 4291 section 2.5.5.2: IPv4-mapped addresses never appear on a wire, and struct cmx_ip would treat them as
     * IPv4. */
    if (!v4 && (cmx_ip_is_v4(&p->src.ip) || cmx_ip_is_v4(&p->dst.ip)))
        return CMX_REASON_MARTIAN;
    why = v4 ? check_options4(d, at) : check_extensions6(p, d, have, &at);
    if (why != CMX_REASON_NONE)
        return why;
    p->l4 = d + at;
    p->l4_len = (uint32_t)(end - at);
    p->l4_have = (uint32_t)(have - at);
    return parse_transport(p);
}

static cmx_reason parse_arp(struct cmx_packet *p, const uint8_t *d, size_t len, size_t total)
{
    static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};

    if (len < ARP_LEN || total < ARP_LEN)
        return CMX_REASON_TRUNCATED;
    if (memcmp(d, ethernet_ipv4, sizeof ethernet_ipv4) != 0)
        return CMX_REASON_FORM;
    p->l4 = d;
    p->l4_len = p->l4_have = ARP_LEN;
    cmx_ip_v4(&p->src.ip, d + 14);
    cmx_ip_v4(&p->dst.ip, d + 24);
    return CMX_REASON_NONE;
}

/* Returns the length of the Ethernet header, or 0 if it is truncated. */
static size_t parse_link(struct cmx_packet *p, const struct cmx_frame *f)
{
    if (f->len < ETH_HEADER)
        return 0;
    p->eth = f->data;
    p->ethertype = cmx_packet_u16(f->data + ETH_HEADER - 2);
    p->version = p->ethertype == CMX_ETH_IPV4 ? 4 : p->ethertype == CMX_ETH_IPV6 ? 6 : 0;
    return ETH_HEADER;
}

cmx_reason cmx_packet_parse(struct cmx_packet *p, const struct cmx_frame *f)
{
    size_t at = 0, len, total;

    memset(p, 0, sizeof *p);
    if (!f->data || f->len > f->total)
        return CMX_REASON_LENGTH;
    if (f->kind == CMX_FRAME_ETHERNET) {
        at = parse_link(p, f);
        if (!at)
            return CMX_REASON_TRUNCATED;
        if (p->ethertype == CMX_ETH_VLAN)
            return CMX_REASON_VLAN;
    } else if (f->len) {
        p->version = f->data[0] >> 4 == 6 ? 6 : 4;
    }
    len = f->len - at;
    total = f->total - at;
    if (p->ethertype == CMX_ETH_ARP)
        return parse_arp(p, f->data + at, len, total);
    return p->version ? parse_ip(p, f->data + at, len, total) : CMX_REASON_ETHERTYPE;
}

cmx_reason cmx_packet_parse_quoted(struct cmx_packet *p, const uint8_t *data, size_t len, uint32_t version)
{
    size_t at;
    cmx_reason why;

    memset(p, 0, sizeof *p);
    p->version = version;
    why = read_ip(p, data, len, &at);
    if (why != CMX_REASON_NONE)
        return why;
    /* Only a first fragment contains the ports. */
    if (p->proto != CMX_IP_TCP || (version == 4 && (cmx_packet_u16(data + 6) & 0x1fff)))
        return CMX_REASON_FORM;
    if (at + 8 > len)
        return CMX_REASON_TRUNCATED;
    p->l4 = data + at;
    read_ports(p);
    p->seq = cmx_packet_u32(p->l4 + 4);
    return CMX_REASON_NONE;
}
