/* packet.h - what a frame or an IP packet says, read defensively from bytes that anyone may have sent. Decides nothing
 * about policy; refuses what is truncated, inconsistent, fragmented or unknown. Pure: no I/O, clock or allocation.
 *
 * Sources: IEEE 802.3 and 802.1Q, RFC 826 (ARP), RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP). */
#ifndef CMX_ISOLATION_PACKET_H
#define CMX_ISOLATION_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/isolation/reason.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CMX_ETH_IPV4 0x0800
#define CMX_ETH_ARP 0x0806
#define CMX_ETH_VLAN 0x8100
#define CMX_ETH_IPV6 0x86dd

#define CMX_IP_ICMP 1
#define CMX_IP_TCP 6
#define CMX_IP_UDP 17
#define CMX_IP_ICMP6 58

#define CMX_TCP_FIN 0x01
#define CMX_TCP_SYN 0x02
#define CMX_TCP_RST 0x04
#define CMX_TCP_ACK 0x10
#define CMX_TCP_KIND (CMX_TCP_FIN | CMX_TCP_SYN | CMX_TCP_RST | CMX_TCP_ACK)

/* An address of either family; IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). Bytes in network order. */
struct cmx_ip {
    uint32_t w[4];
};

void cmx_ip4(struct cmx_ip *out, const uint8_t addr[4]);
void cmx_ip6(struct cmx_ip *out, const uint8_t addr[16]);
bool cmx_ip_equal(const struct cmx_ip *a, const struct cmx_ip *b);
bool cmx_ip_is_v4(const struct cmx_ip *a);
bool cmx_ip_is_any(const struct cmx_ip *a); /* :: or 0.0.0.0 */
bool cmx_ip_is_loopback(const struct cmx_ip *a);
bool cmx_ip_is_link_local6(const struct cmx_ip *a);
bool cmx_ip_is_multicast(const struct cmx_ip *a); /* and what is reserved above 224.0.0.0 */

/* 4 or 16 bytes, within a. */
static inline const uint8_t *cmx_ip_bytes(const struct cmx_ip *a, size_t *len)
{
    *len = cmx_ip_is_v4(a) ? 4 : 16;
    return (const uint8_t *)a->w + 16 - *len;
}

typedef enum { CMX_FRAME_ETHERNET, CMX_FRAME_IP } cmx_frame_kind;

/* One end of a conversation: port 0 where there is none. */
struct cmx_end {
    struct cmx_ip ip;
    uint32_t port;
};

/* A frame as it lies in memory. Of a chained buffer only the head needs to be contiguous: len bytes at data out of
 * total. A field that a decision needs and that lies beyond len is as good as missing: the frame is refused. */
struct cmx_frame {
    cmx_frame_kind kind;
    const uint8_t *data;
    size_t len;   /* bytes at data; 128 are enough for TCP, 640 for everything */
    size_t total; /* bytes of the whole frame, >= len */
};

/* Everything points into the frame. Numbers are whole words: a small device's instructions are shorter then. Valid only
 * after cmx_packet_parse returned CMX_WHY_NONE. */
struct cmx_packet {
    const uint8_t *eth; /* the 14 bytes of the Ethernet header, or NULL */
    uint32_t ethertype; /* after VLAN tags; 0 for CMX_FRAME_IP */
    uint32_t version;   /* of IP: 4 or 6; 0: ARP */
    uint32_t vlan;      /* 0: no tag, or a priority tag */
    uint32_t proto;     /* of the last header of the chain */
    uint32_t hops;      /* TTL or hop limit */
    uint32_t tcp_flags; /* those of CMX_TCP_KIND */
    bool router_alert;  /* ICMPv6 behind a hop-by-hop header that holds just that (RFC 2711) and padding */
    struct cmx_end src, dst;
    uint32_t seq, ack; /* TCP */
    uint32_t window;
    const uint8_t *l4; /* ARP: the ARP packet; otherwise the header above IP */
    uint32_t l4_len;   /* by the IP header's count; Ethernet padding is not part of it */
    uint32_t l4_have;  /* how many of them are at l4 */
    uint32_t payload;  /* TCP, UDP: bytes after their header */
};

/* Options that are a code, a length and as many bytes, behind one another: those of TCP, IPv6 and DHCP. */
struct cmx_options {
    const uint8_t *at;
    uint32_t left;
    uint8_t pad;    /* a code that stands alone and says nothing */
    uint8_t end;    /* a code after which nothing counts; the same as pad: there is none */
    uint8_t header; /* bytes that the length leaves out: 0 or 2 */
    bool broken;    /* one did not fit; set by cmx_options_next */
};

/* The next one, whole, or NULL. */
const uint8_t *cmx_options_next(struct cmx_options *o);

/* CMX_WHY_NONE, or why the frame is refused; p is then filled as far as reading got, for the log alone. Any thread. */
CMX_MUST_USE cmx_why cmx_packet_parse(struct cmx_packet *p, const struct cmx_frame *f);

/* Reads the addresses and ports of the TCP packet that an ICMP or ICMPv6 error quotes (RFC 792, RFC 4443): at least 8
 * bytes above IP. */
CMX_MUST_USE cmx_why cmx_packet_parse_quoted(struct cmx_packet *p, const uint8_t *data, size_t len, uint32_t version);

bool cmx_mac_equal(const uint8_t a[6], const uint8_t b[6]);

/* Big-endian numbers. */
#ifdef __OPTIMIZE_SIZE__
uint32_t cmx_get16(const uint8_t *p);
uint32_t cmx_get32(const uint8_t *p);
#else
static inline uint32_t cmx_get16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

static inline uint32_t cmx_get32(const uint8_t *p)
{
    return cmx_get16(p) << 16 | cmx_get16(p + 2);
}
#endif

#ifdef __cplusplus
}
#endif
#endif
