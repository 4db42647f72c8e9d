/* packet.h - parses a frame or an IP packet from untrusted bytes. Refuses frames that are truncated, inconsistent,
 * fragmented or of an unknown protocol, and makes no other decision. Pure: no I/O, clock or allocation.
 *
 * Sources: IEEE 802.3, RFC 826 (ARP), RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/isolation/reason.h"

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

typedef enum { CMX_FRAME_ETHERNET, CMX_FRAME_IP } cmx_frame_kind;

/* One end of a connection or exchange. port is 0 if the protocol has no ports. */
struct cmx_end {
    struct cmx_ip ip;
    uint32_t port;
};

/* A frame in memory. data holds its first len bytes; the frame may be longer. A frame is refused if a decision needs a
 * byte that is not at data. */
struct cmx_frame {
    cmx_frame_kind kind;
    const uint8_t *data;
    size_t len;   /* bytes at data; 128 are enough for TCP, 640 for all protocols */
    size_t total; /* bytes of the whole frame, >= len */
};

/* All pointers point into the frame. Numbers are 32-bit words, because that gives shorter code on small devices. The
 * fields are valid only after cmx_packet_parse returned CMX_REASON_NONE. */
struct cmx_packet {
    const uint8_t *eth; /* the 14 bytes of the Ethernet header, or NULL */
    uint32_t ethertype; /* 0 for CMX_FRAME_IP */
    uint32_t version;   /* IP version, 4 or 6; 0: ARP */
    uint32_t proto;     /* protocol of the transport header, such as CMX_IP_TCP */
    uint32_t hops;      /* TTL or hop limit */
    uint32_t tcp_flags; /* the flags in CMX_TCP_KIND */
    /* ICMPv6 with a Hop-by-Hop Options header (RFC 8200) that has one router alert (RFC 2711), and otherwise padding.
     */
    bool router_alert;
    struct cmx_end src, dst;
    uint32_t seq, ack; /* only TCP */
    uint32_t window;
    const uint8_t *l4; /* ARP: the ARP packet; otherwise the transport header */
    uint32_t l4_len;   /* length according to the IP header, without Ethernet padding */
    uint32_t l4_have;  /* how many of these l4_len bytes are contiguous at l4 */
    uint32_t payload;  /* TCP, UDP: bytes after the header */
};

/* An iterator over the options of TCP, IPv6 and DHCP. Each consists of a code, a length and data. */
struct cmx_options {
    const uint8_t *at;
    uint32_t left;
    uint8_t pad;    /* the padding code, which has no length */
    uint8_t end;    /* the code that ends the list; equal to pad if there is no such code */
    uint8_t header; /* 2: an option's length counts only its data; 0: it also counts code and length */
    bool broken;    /* set by cmx_options_next: an option is malformed or exceeds the list */
};

/* Returns the next complete option, or NULL. */
const uint8_t *cmx_options_next(struct cmx_options *o);

/* Returns CMX_REASON_NONE, or why the frame is refused. After a refusal *p has the fields parsed so far, for the log
 * only. Any thread. */
CMX_MUST_USE cmx_reason cmx_packet_parse(struct cmx_packet *p, const struct cmx_frame *f);

/* Reads the addresses, ports and sequence number of the TCP packet that an ICMP or ICMPv6 error quotes (RFC 792, RFC
 * 4443). Needs at least 8 bytes of IP payload. */
CMX_MUST_USE cmx_reason cmx_packet_parse_quoted(struct cmx_packet *p, const uint8_t *data, size_t len,
                                                uint32_t version);

bool cmx_packet_mac_equal(const uint8_t a[6], const uint8_t b[6]);
bool cmx_ip_in(const struct cmx_ip *list, size_t n, const struct cmx_ip *ip);

/* Read a big-endian number at p. */
#ifdef __OPTIMIZE_SIZE__
uint32_t cmx_packet_u16(const uint8_t *p);
uint32_t cmx_packet_u32(const uint8_t *p);
#else
static inline uint32_t cmx_packet_u16(const uint8_t *p)
{
    return (uint32_t)(p[0] << 8 | p[1]);
}

static inline uint32_t cmx_packet_u32(const uint8_t *p)
{
    return cmx_packet_u16(p) << 16 | cmx_packet_u16(p + 2);
}
#endif
