/* frames.h - builds Ethernet frames with correct checksums, for tests. Header only. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "cmxsafe/isolation/policy.h"

struct test_frame {
    uint8_t d[1600];
    size_t len;
    size_t l3, l4; /* offsets of the IP header and of the transport header in d */
};

static inline void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static inline uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
    size_t i;

    for (i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    if (n & 1)
        sum += (uint32_t)p[n - 1] << 8;
    return sum;
}

static inline uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Announces a socket of the engine to the policy: a listener if peer is NULL, otherwise a connection to peer. */
static inline cmx_err flow_open(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_ip *ip, unsigned port,
                                const struct cmx_ip *peer, unsigned peer_port, uint32_t now)
{
    const struct cmx_end local = {*ip, port};
    struct cmx_end to = {.port = peer_port};

    if (peer)
        to.ip = *peer;
    return cmx_isolation_socket_open(iso, kind, &local, peer ? &to : NULL, now);
}

static inline void flow_close(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_ip *ip, unsigned port,
                              const struct cmx_ip *peer, unsigned peer_port, uint32_t now)
{
    const struct cmx_end local = {*ip, port};
    struct cmx_end to = {.port = peer_port};

    if (peer)
        to.ip = *peer;
    cmx_isolation_socket_close(iso, kind, &local, peer ? &to : NULL, now);
}

/* Sets the lengths and checksums of the IP header and of its payload for the frame's current length. */
static inline void frame_finish(struct test_frame *f)
{
    uint8_t *ip = f->d + f->l3, *up = f->d + f->l4;
    const size_t n = f->len - f->l4;
    const bool v4 = ip[0] >> 4 == 4;
    const uint8_t proto = v4 ? ip[9] : f->l4 == f->l3 + 40 ? ip[6] : 58;
    const size_t at = proto == CMX_IP_TCP ? 16 : proto == CMX_IP_UDP ? 6 : 2;
    uint32_t sum = 0;

    if (v4) {
        put16(ip + 2, (unsigned)(f->len - f->l3));
        put16(ip + 10, 0);
        put16(ip + 10, fold(sum16(ip, f->l4 - f->l3, 0)));
    } else {
        put16(ip + 4, (unsigned)(f->len - f->l3 - 40));
    }
    if (proto == CMX_IP_UDP)
        put16(up + 4, (unsigned)n);
    put16(up + at, 0);
    if (proto != CMX_IP_ICMP)
        sum = sum16(ip + (v4 ? 12 : 8), v4 ? 8 : 32, proto + (uint32_t)n);
    put16(up + at, fold(sum16(up, n, sum)));
}

/* Writes an Ethernet and an IP header of the source's address family. The caller appends the payload, sets len and
 * calls frame_finish. */
static inline void frame_ip(struct test_frame *f, const uint8_t to[6], const uint8_t from[6], const struct cmx_ip *src,
                            const struct cmx_ip *dst, uint8_t proto)
{
    const bool v4 = cmx_ip_is_v4(src);
    uint8_t *ip = f->d + 14;

    memset(f, 0, sizeof *f);
    memcpy(f->d, to, 6);
    memcpy(f->d + 6, from, 6);
    put16(f->d + 12, v4 ? CMX_ETH_IPV4 : CMX_ETH_IPV6);
    f->l3 = 14;
    f->l4 = f->l3 + (v4 ? 20 : 40);
    if (v4) {
        ip[0] = 0x45;
        ip[8] = 64;
        ip[9] = proto;
        memcpy(ip + 12, (const uint8_t *)src->w + 12, 4);
        memcpy(ip + 16, (const uint8_t *)dst->w + 12, 4);
    } else {
        ip[0] = 0x60;
        ip[6] = proto;
        ip[7] = proto == CMX_IP_ICMP6 ? 255 : 64;
        memcpy(ip + 8, src->w, 16);
        memcpy(ip + 24, dst->w, 16);
    }
    f->len = f->l4;
}

static inline void frame_tcp(struct test_frame *f, const uint8_t to[6], const uint8_t from[6], const struct cmx_ip *src,
                             unsigned sport, const struct cmx_ip *dst, unsigned dport, uint8_t flags, uint32_t seq,
                             uint32_t ack, size_t payload)
{
    uint8_t *t;

    frame_ip(f, to, from, src, dst, CMX_IP_TCP);
    t = f->d + f->l4;
    put16(t, sport);
    put16(t + 2, dport);
    put32(t + 4, seq);
    put32(t + 8, ack);
    t[12] = 0x50;
    t[13] = flags;
    put16(t + 14, 5840);
    f->len += 20 + payload;
    frame_finish(f);
}

static inline void frame_udp(struct test_frame *f, const uint8_t to[6], const uint8_t from[6], const struct cmx_ip *src,
                             unsigned sport, const struct cmx_ip *dst, unsigned dport, const uint8_t *data, size_t n)
{
    frame_ip(f, to, from, src, dst, CMX_IP_UDP);
    put16(f->d + f->l4, sport);
    put16(f->d + f->l4 + 2, dport);
    if (data)
        memcpy(f->d + f->l4 + 8, data, n);
    f->len += 8 + n;
    frame_finish(f);
}

static inline void frame_arp(struct test_frame *f, const uint8_t to[6], const uint8_t from[6], unsigned op,
                             const struct cmx_ip *spa, const uint8_t tha[6], const struct cmx_ip *tpa)
{
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    uint8_t *a = f->d + 14;

    memset(f, 0, sizeof *f);
    memcpy(f->d, to, 6);
    memcpy(f->d + 6, from, 6);
    put16(f->d + 12, CMX_ETH_ARP);
    memcpy(a, head, 6);
    put16(a + 6, op);
    memcpy(a + 8, from, 6);
    memcpy(a + 14, (const uint8_t *)spa->w + 12, 4);
    memcpy(a + 18, tha, 6);
    memcpy(a + 24, (const uint8_t *)tpa->w + 12, 4);
    f->l3 = f->l4 = 14;
    f->len = 60; /* padded to the minimum length, as on a wire */
}

/* Writes a neighbour discovery message. option is the type of the option with the sender's hardware address; 0: no
 * option. */
static inline void frame_nd(struct test_frame *f, const uint8_t to[6], const uint8_t from[6], const struct cmx_ip *src,
                            const struct cmx_ip *dst, uint8_t type, uint8_t flags, const struct cmx_ip *target,
                            uint8_t option)
{
    uint8_t *m;

    frame_ip(f, to, from, src, dst, CMX_IP_ICMP6);
    m = f->d + f->l4;
    m[0] = type;
    m[4] = flags;
    memcpy(m + 8, target->w, 16);
    f->len += 24;
    if (option) {
        m[24] = option;
        m[25] = 1;
        memcpy(m + 26, from, 6);
        f->len += 8;
    }
    frame_finish(f);
}

/* Writes a router advertisement with this lifetime in seconds and the source link-layer address option. */
static inline void frame_ra(struct test_frame *f, const uint8_t from[6], const struct cmx_ip *src, unsigned lifetime_s)
{
    static const uint8_t to[6] = {0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t all[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    struct cmx_ip dst;
    uint8_t *m;

    cmx_ip_v6(&dst, all);
    frame_ip(f, to, from, src, &dst, CMX_IP_ICMP6);
    m = f->d + f->l4;
    m[0] = 134;
    m[4] = 64;
    put16(m + 6, lifetime_s);
    m[16] = 1;
    m[17] = 1;
    memcpy(m + 18, from, 6);
    f->len += 24;
    frame_finish(f);
}

/* Writes a DHCP message of 300 bytes and returns its length. If server is NULL, the message has no server identifier.
 */
static inline size_t dhcp_message(uint8_t *d, uint8_t op, uint8_t type, uint32_t xid, const uint8_t mac[6],
                                  const struct cmx_ip *server)
{
    static const uint8_t magic[4] = {99, 130, 83, 99};
    size_t n = 240;

    memset(d, 0, 300);
    d[0] = op;
    d[1] = 1;
    d[2] = 6;
    put32(d + 4, xid);
    memcpy(d + 28, mac, 6);
    memcpy(d + 236, magic, 4);
    d[n++] = 53;
    d[n++] = 1;
    d[n++] = type;
    if (server) {
        d[n++] = 54;
        d[n++] = 4;
        memcpy(d + n, (const uint8_t *)server->w + 12, 4);
        n += 4;
    }
    d[n++] = 255;
    return 300;
}

/* Writes a DNS query for name and returns its length, which is at most strlen(name) + 18. */
static inline size_t dns_query(uint8_t *d, unsigned id, const char *name, unsigned type)
{
    size_t n = 12;

    memset(d, 0, 12);
    put16(d, id);
    d[2] = 1;
    d[5] = 1;
    while (*name) {
        const char *dot = strchr(name, '.');
        size_t len = dot ? (size_t)(dot - name) : strlen(name);

        d[n++] = (uint8_t)len;
        memcpy(d + n, name, len);
        n += len;
        name += len + (dot != NULL);
    }
    d[n++] = 0;
    put16(d + n, type);
    put16(d + n + 2, 1);
    return n + 4;
}

static inline struct cmx_frame frame_view(const struct test_frame *f)
{
    struct cmx_frame v = {CMX_FRAME_ETHERNET, f->d, f->len, f->len};

    return v;
}
