/* isolation_diff.c - compares the verdicts of the policy in C (cmx_isolation_check) with those of the kernel. It sends
 * random and mutated frames to a device in a network namespace, whose nftables ruleset was generated from the same
 * policy, and reads from the ruleset's counters how many frames passed. Device and gateway have a live session; the
 * policy in C has checked the packets of its handshake.
 *
 * usage: isolation_diff DEVICE_NETNS PEER_NETNS FRAMES SEED. Both namespaces have an interface eth0; the device is
 * 10.77.0.5 and fd77::5, the peer (the gateway) 10.77.0.1 and fd77::1. Prints the number of compared frames for each
 * verdict. If a verdict differs, prints the frame and exits with status 1. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/isolation/nft_load.h"
#include "agent/isolation/nft_ruleset.h"
#include "tests/support/frames.h"

#include "cmxsafe/core/why.h"

#define BATCH 256
#define LOCAL_PORT 50000
#define SETTLE_MS 6000 /* longer than the policy waits for the answer to a request */

static struct cmx_isolation iso;
static struct cmx_flow flows[8];
static struct cmx_iface dev;
static uint8_t gw_mac[6];
static struct cmx_ip us, gw, other, us6, gw6, other6;
static int wire; /* a packet socket in the peer's namespace */
static struct nft *nft;
static uint32_t rcv_next, snd_next; /* sequence numbers of the session, as the device sees them */
static unsigned long long compared[2], skipped;

static void die(const char *what)
{
    fprintf(stderr, "isolation_diff: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint32_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
}

static uint64_t state;

static uint32_t rnd(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

static void enter(const char *netns)
{
    char path[128];
    int fd;

    snprintf(path, sizeof path, "/run/netns/%s", netns);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET))
        die(netns);
    close(fd);
}

static struct cmx_ip ip(const char *text)
{
    struct cmx_ip out;
    uint8_t b[16];

    if (inet_pton(AF_INET, text, b) == 1)
        cmx_ip_v4(&out, b);
    else if (inet_pton(AF_INET6, text, b) == 1)
        cmx_ip_v6(&out, b);
    else
        die(text);
    return out;
}

static void mac_of(uint8_t mac[6])
{
    struct ifreq r = {.ifr_name = "eth0"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (ioctl(fd, SIOCGIFHWADDR, &r))
        die("eth0");
    memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    close(fd);
}

/* ---- the two policies ---- */

static void run(const char *text)
{
    struct cmx_why why = {""};

    if (nft_run(nft, text, false, &why) != CMX_OK) {
        fprintf(stderr, "isolation_diff: nft: %s\n", why.text);
        exit(2);
    }
}

static void set_up(const char *device)
{
    static struct cmx_nft_config c;
    static char text[CMX_NFT_TEXT_MAX];
    struct cmx_buf b;
    const char *s;

    c.agent_uid = 0;
    c.idle_s = 3600;
    c.policy.gateways[c.policy.n_gateways++] = (struct cmx_iso_gateway){.ip = gw, .port = 22};
    c.policy.ipv6 = true;
    c.policy.contexts[0].port = 81;
    c.policy.n_contexts = 1;
    cmx_buf_init(&b, text, sizeof text);
    if (cmx_nft_ruleset(&c, &b) != CMX_OK || cmx_buf_cstr(&b, &s) != CMX_OK ||
        cmx_isolation_init(&iso, &c.policy, flows, 8) != CMX_OK)
        die("policy");
    enter(device);
    if (nft_open(&nft, NULL) != CMX_OK)
        die("nft_open");
    run(s);
    mac_of(dev.mac);
    dev.own[dev.n_own++] = us;
    dev.own[dev.n_own++] = us6;
}

/* Returns the number of packets that the rules have let through, the sum of both directions. */
static unsigned long long passed(void)
{
    static const char *const drops[] = {"denied_", "fragment", "ip_option", "tcp_state", "martian"};
    static char text[16384];
    unsigned long long sum = 0, n;
    struct cmx_buf b;
    const char *s;
    char name[32];

    cmx_buf_init(&b, text, sizeof text);
    if (nft_list(nft, "list counters table inet cmxsafe\nlist counters table arp cmxsafe\n", &b) != CMX_OK ||
        cmx_buf_cstr(&b, &s) != CMX_OK)
        die("counters");
    for (s = strstr(s, "counter "); s; s = strstr(s + 8, "counter ")) {
        bool drop = false;

        if (sscanf(s, "counter %31s { packets %llu", name, &n) != 2)
            continue;
        for (size_t i = 0; i < 5; i++)
            drop = drop || strncmp(name, drops[i], strlen(drops[i])) == 0;
        sum += drop ? 0 : n;
    }
    return sum;
}

static struct cmx_decision judge(const struct test_frame *f, cmx_direction dir)
{
    const struct cmx_frame v = frame_view(f);

    return cmx_isolation_check(&iso, &dev, dir, &v, now_ms() / 1000);
}

/* ---- the session ---- */

/* Checks captured packets with the policy in C, as the device's filter would. All of them must pass. */
static void watch(int ms)
{
    const uint32_t end = now_ms() + (uint32_t)ms;
    struct pollfd p = {.fd = wire, .events = POLLIN};

    while ((int32_t)(end - now_ms()) > 0) {
        struct test_frame f = {.l3 = 14};
        struct cmx_decision d;
        struct cmx_packet packet;
        struct cmx_frame v;
        ssize_t n;
        bool out;

        if (poll(&p, 1, 20) != 1)
            continue;
        n = recv(wire, f.d, sizeof f.d, MSG_TRUNC);
        if (n < 14 || (size_t)n > sizeof f.d)
            continue;
        f.len = (size_t)n;
        out = memcmp(f.d + 6, dev.mac, 6) == 0;
        d = judge(&f, out ? CMX_OUT : CMX_IN);
        v = frame_view(&f);
        if (cmx_packet_parse(&packet, &v) != CMX_REASON_NONE || packet.proto != CMX_IP_TCP)
            continue;
        if (d.verdict != CMX_ALLOW) {
            fprintf(stderr, "isolation_diff: the policy refuses a segment of the session: %s\n",
                    cmx_reason_name(d.why));
            exit(1);
        }
        if (out && (packet.tcp_flags & CMX_TCP_ACK)) {
            rcv_next = packet.ack;
            snd_next = packet.seq + packet.payload;
        }
    }
}

static void connect_session(const char *device, const char *peer)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(22)}, from = {.sin_family = AF_INET};
    int server, client, one = 1;

    enter(peer);
    server = socket(AF_INET, SOCK_STREAM, 0);
    memcpy(&at.sin_addr, &gw.w[3], 4);
    if (bind(server, (struct sockaddr *)&at, sizeof at) || listen(server, 1))
        die("listen");
    enter(device);
    client = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    fcntl(client, F_SETFL, O_NONBLOCK);
    from.sin_port = htons(LOCAL_PORT);
    memcpy(&from.sin_addr, &us.w[3], 4);
    if (bind(client, (struct sockaddr *)&from, sizeof from))
        die("bind");
    if (flow_open(&iso, CMX_FLOW_SESSION, &us, LOCAL_PORT, &gw, 22, now_ms() / 1000) != CMX_OK)
        die("flow");
    if (connect(client, (struct sockaddr *)&at, sizeof at) && errno != EINPROGRESS)
        die("connect");
    watch(1000);
    if (write(client, "hello", 5) != 5)
        die("write");
    watch(SETTLE_MS); /* afterwards the requests of the handshake have expired in the policy and in the rules */
    if (!rcv_next)
        die("no session");
}

/* ---- frames ---- */

static const struct cmx_ip *some_peer(bool v6)
{
    if (v6)
        return rnd(2) ? &gw6 : &other6;
    return rnd(3) ? &gw : &other;
}

static void some_tcp(struct test_frame *f)
{
    const bool v6 = rnd(4) == 0;
    static const uint8_t flag_sets[] = {2, 0x12, 0x10, 0x18, 4, 0x14, 0x11, 0, 0x3f, 1};
    const unsigned dport = rnd(3) ? LOCAL_PORT : rnd(65536), sport = rnd(4) ? 22 : rnd(65536);

    frame_tcp(f, dev.mac, gw_mac, some_peer(v6), sport, v6 ? &us6 : &us, dport, flag_sets[rnd(sizeof flag_sets)],
              rnd(2) ? rcv_next : rnd(UINT32_MAX), rnd(2) ? snd_next : rnd(UINT32_MAX), rnd(3) ? 0 : rnd(64));
}

/* Frames that must pass: a segment of the session, or an ICMP error about it. */
static void some_good(struct test_frame *f)
{
    struct test_frame q;

    frame_tcp(f, dev.mac, gw_mac, &gw, 22, &us, LOCAL_PORT, CMX_TCP_ACK, rcv_next, snd_next, 0);
    put16(f->d + f->l4 + 14, rnd(65536));
    f->d[15] = (uint8_t)rnd(256);
    f->d[22] = (uint8_t)(1 + rnd(255));
    frame_finish(f);
    if (rnd(2))
        return;
    frame_tcp(&q, gw_mac, dev.mac, &us, LOCAL_PORT, &gw, 22, CMX_TCP_ACK, snd_next - 1, rcv_next, 0);
    frame_ip(f, dev.mac, gw_mac, rnd(2) ? &gw : &other, &us, CMX_IP_ICMP);
    f->d[f->l4] = rnd(2) ? 3 : 11;
    f->d[f->l4 + 1] = (uint8_t)rnd(2);
    memcpy(f->d + f->l4 + 8, q.d + 14, 40);
    f->len += 48;
    frame_finish(f);
}

static void some_udp(struct test_frame *f)
{
    static const uint16_t ports[] = {53, 67, 68, 123, 546, 547, 5353, 22};
    const bool v6 = rnd(4) == 0;
    uint8_t d[300];

    if (rnd(4) == 0) {
        dhcp_message(d, 2, (uint8_t)(2 + rnd(5)), rnd(8), dev.mac, some_peer(false));
        frame_udp(f, dev.mac, gw_mac, some_peer(false), 67, &us, 68, d, sizeof d);
        return;
    }
    frame_udp(f, dev.mac, gw_mac, some_peer(v6), rnd(4) ? ports[rnd(8)] : rnd(65536), v6 ? &us6 : &us,
              rnd(2) ? ports[rnd(8)] : rnd(65536), NULL, rnd(64));
}

static void some_icmp(struct test_frame *f)
{
    const bool v6 = rnd(2);

    frame_ip(f, dev.mac, gw_mac, some_peer(v6), v6 ? &us6 : &us, v6 ? CMX_IP_ICMP6 : CMX_IP_ICMP);
    for (unsigned i = 0; i < 40; i++)
        f->d[f->l4 + i] = (uint8_t)rnd(256);
    f->d[f->l4] = (uint8_t)(v6 ? (rnd(2) ? 128 + rnd(16) : rnd(256)) : rnd(20));
    f->d[f->l4 + 1] = (uint8_t)(rnd(2) ? 0 : rnd(256));
    f->len += 40;
    frame_finish(f);
}

/* Adds an extension header or an IP option before the transport header, a fragment header, or a VLAN tag. */
static void decorate(struct test_frame *f)
{
    static const uint8_t kinds[] = {0, 43, 44, 60, 51, 135, 59};
    const bool v4 = f->d[14] >> 4 == 4;

    if (v4 && rnd(2)) {
        put16(f->d + 20, rnd(2) ? 0x2000 : rnd(0x4000));
        frame_finish(f);
    } else if (v4) {
        memmove(f->d + 38, f->d + 34, f->len - 34);
        for (unsigned i = 0; i < 4; i++)
            f->d[34 + i] = (uint8_t)rnd(256);
        f->d[14] = 0x46;
        f->len += 4;
        f->l4 += 4;
        frame_finish(f);
    } else {
        memmove(f->d + 62, f->d + 54, f->len - 54);
        memset(f->d + 54, 0, 8);
        f->d[54] = f->d[20];
        f->d[20] = kinds[rnd(sizeof kinds)];
        f->len += 8;
        put16(f->d + 18, (unsigned)(f->len - 54));
    }
}

static void mutate(struct test_frame *f)
{
    for (unsigned n = 1 + rnd(3); n; n--)
        f->d[12 + rnd((uint32_t)f->len - 12)] = (uint8_t)rnd(256);
    if (rnd(6) == 0)
        f->len = 14 + rnd((uint32_t)f->len - 13);
    if (f->len < 15)
        f->len = 15;
}

/* Corrects the checksums: the kernel drops frames with wrong checksums before either policy sees them. */
static void repair(struct test_frame *f)
{
    struct cmx_frame v = frame_view(f);
    struct cmx_packet p;
    uint8_t *ip = f->d + 14, *up;
    size_t at;
    uint32_t sum = 0;

    if (cmx_packet_parse(&p, &v) != CMX_REASON_NONE || p.ethertype == CMX_ETH_ARP ||
        cmx_packet_u16(f->d + 12) == CMX_ETH_VLAN)
        return;
    if (p.ethertype == CMX_ETH_IPV4) {
        put16(ip + 10, 0);
        put16(ip + 10, fold(sum16(ip, (ip[0] & 15u) * 4u, 0)));
    }
    up = f->d + (p.l4 - f->d);
    at = p.proto == CMX_IP_TCP ? 16 : p.proto == CMX_IP_UDP ? 6 : 2;
    put16(up + at, 0);
    if (p.proto != CMX_IP_ICMP) {
        const bool v4 = p.ethertype == CMX_ETH_IPV4;

        sum = sum16(ip + (v4 ? 12 : 8), v4 ? 8 : 32, p.proto + p.l4_len);
    }
    put16(up + at, fold(sum16(up, p.l4_len, sum)));
}

static void random_bytes(struct test_frame *f)
{
    static const uint16_t types[] = {0x0800, 0x86dd, 0x0806, 0x8100, 0x88cc};

    memset(f, 0, sizeof *f);
    memcpy(f->d, dev.mac, 6);
    memcpy(f->d + 6, gw_mac, 6);
    put16(f->d + 12, rnd(3) ? types[rnd(5)] : rnd(65536));
    f->len = 15 + rnd(110);
    for (size_t i = 14; i < f->len; i++)
        f->d[i] = (uint8_t)rnd(256);
}

static void some_frame(struct test_frame *f)
{
    const uint32_t what = rnd(10);

    if (what == 0) {
        random_bytes(f);
        return;
    }
    if (what == 2) {
        some_good(f);
    } else if (what == 1) {
        frame_arp(f, dev.mac, gw_mac, 1 + rnd(3), some_peer(false), dev.mac, rnd(2) ? &us : &other);
    } else {
        if (what < 6)
            some_tcp(f);
        else if (what < 8)
            some_udp(f);
        else
            some_icmp(f);
        if (rnd(5) == 0)
            decorate(f);
    }
    if (rnd(4) == 0)
        mutate(f);
}

/* ---- comparing ---- */

/* True if the verdicts differ by design. Such frames are not compared; docs/ISOLATION.md lists them. */
static bool beyond_nft(const struct test_frame *f, struct cmx_decision d)
{
    struct cmx_frame v = frame_view(f);
    struct cmx_packet p;

    if (d.why == CMX_REASON_VLAN) /* the kernel removes a priority tag before nftables sees the frame */
        return true;
    /* The rules do not check the length of the TCP header; the kernel's TCP does. */
    if (cmx_packet_parse(&p, &v) != CMX_REASON_NONE)
        return d.why == CMX_REASON_LENGTH && p.proto == CMX_IP_TCP && p.l4 && p.l4_have >= 20;
    switch (d.why) {
    case CMX_REASON_TCP_STATE: /* after the rules, the kernel's TCP checks the window */
        return true;
    /* Only bare ACKs are compared: the kernel's TCP checks all other segments, and some of them end the session. */
    case CMX_REASON_SESSION:
        return (p.tcp_flags & ~(CMX_TCP_ACK | 8u)) || p.seq != rcv_next || p.ack != snd_next || p.payload ||
               f->d[14] != 0x45;
    case CMX_REASON_ARP: /* the counters also include the kernel's answer to the frame */
    case CMX_REASON_ND:
        return true;
    case CMX_REASON_NOT_FOR_US: /* the ARP rules do not check for our own addresses; the kernel does later */
        if (p.ethertype == CMX_ETH_ARP)
            return true;
        break;
    default:
        break;
    }
    if (p.proto == CMX_IP_ICMP && d.why == CMX_REASON_FORM) /* the rules do not check all of the quoted packet */
        return true;
    /* In neighbour discovery the rules check only the sender; the kernel's stack checks the rest. */
    return p.proto == CMX_IP_ICMP6 && d.why != CMX_REASON_ICMP && d.verdict == CMX_DENY;
}

struct batch {
    struct test_frame frames[BATCH];
    size_t n;
};
static struct batch batches[2]; /* [0]: frames that must be dropped; [1]: frames that must pass */

static void send_all(const struct test_frame *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        while (send(wire, f[i].d, f[i].len, 0) < 0)
            if (errno != ENOBUFS && errno != EAGAIN)
                die("send");
}

static unsigned long long delta(const struct test_frame *f, size_t n)
{
    const unsigned long long before = passed();

    send_all(f, n);
    return passed() - before;
}

static void show(const struct test_frame *f)
{
    const struct cmx_decision d = judge(f, CMX_IN);

    fprintf(stderr, "the policy: %s (%s); the kernel: the opposite; the frame:", d.verdict ? "pass" : "drop",
            cmx_reason_name(d.why));
    for (size_t i = 0; i < f->len; i++)
        fprintf(stderr, " %02x", f->d[i]);
    fputc('\n', stderr);
}

/* Other traffic on the link can make a count wrong. After a wrong count the frames of the batch are sent again one by
 * one. A frame whose own count is wrong twice is a difference. */
static void compare(struct batch *b, cmx_verdict expected)
{
    const unsigned long long want = expected == CMX_ALLOW ? b->n : 0;

    if (delta(b->frames, b->n) != want)
        for (size_t i = 0; i < b->n; i++)
            if (delta(&b->frames[i], 1) != (expected == CMX_ALLOW) &&
                delta(&b->frames[i], 1) != (expected == CMX_ALLOW)) {
                show(&b->frames[i]);
                exit(1);
            }
    compared[expected] += b->n;
    b->n = 0;
}

static void one(void)
{
    struct test_frame f;
    struct cmx_isolation before = iso;
    struct cmx_flow flow_before = flows[0];
    struct cmx_decision d;
    struct batch *b;

    some_frame(&f);
    repair(&f);
    d = judge(&f, CMX_IN);
    iso = before; /* each frame is checked with the same state */
    flows[0] = flow_before;
    if (beyond_nft(&f, d)) {
        skipped++;
        return;
    }
    b = &batches[d.verdict];
    b->frames[b->n++] = f;
    if (b->n == BATCH)
        compare(b, d.verdict);
}

static void open_wire(const char *peer)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int size = 1 << 20;

    enter(peer);
    wire = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    at.sll_ifindex = (int)if_nametoindex("eth0");
    if (wire < 0 || bind(wire, (struct sockaddr *)&at, sizeof at))
        die("packet socket");
    setsockopt(wire, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    mac_of(gw_mac);
}

int main(int argc, char **argv)
{
    unsigned long long n, i;

    if (argc != 5)
        return 2;
    n = strtoull(argv[3], NULL, 10);
    state = strtoull(argv[4], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    us = ip("10.77.0.5");
    gw = ip("10.77.0.1");
    other = ip("10.77.0.66");
    us6 = ip("fd77::5");
    gw6 = ip("fd77::1");
    other6 = ip("fd77::66");
    open_wire(argv[2]);
    set_up(argv[1]);
    connect_session(argv[1], argv[2]);
    for (i = 0; i < n; i++)
        one();
    compare(&batches[CMX_DENY], CMX_DENY);
    compare(&batches[CMX_ALLOW], CMX_ALLOW);
    printf("%llu frames: %llu dropped by both, %llu passed by both, %llu not comparable\n", n, compared[CMX_DENY],
           compared[CMX_ALLOW], skipped);
    return compared[CMX_DENY] && compared[CMX_ALLOW] ? 0 : 1;
}
