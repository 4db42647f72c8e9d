/* The platform-independent part of the isolation module. For each packet that must pass, a similar packet must be
 * dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/frames.h"

#include "cmxsafe/core/why.h"
#include "cmxsafe/isolation/link.h"

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, gw_mac[6] = {2, 0, 0, 0, 0, 2}, bad_mac[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255}, zero_mac[6];

static struct cmx_isolation iso;
static struct cmx_flow flows[64];
static struct cmx_iface eth, lo;
static struct cmx_ip us, gw, bad, none4, us6, us_ll, router_ll, bad_ll, gw6, any6, localhost, all4;
static uint32_t now;

static struct cmx_ip ip4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    const uint8_t x[4] = {a, b, c, d};
    struct cmx_ip ip;

    cmx_ip_v4(&ip, x);
    return ip;
}

static struct cmx_ip ip6(uint16_t head, uint8_t last)
{
    uint8_t x[16] = {(uint8_t)(head >> 8), (uint8_t)head};
    struct cmx_ip ip;

    x[15] = last;
    cmx_ip_v6(&ip, x);
    return ip;
}

static int setup(void **state)
{
    struct cmx_iso_config c = {.gateways = {{.name = "gw.example.org", .port = 22}},
                               .n_gateways = 1,
                               .dhcp4 = true,
                               .dhcp6 = true,
                               .ipv6 = true};

    (void)state;
    us = ip4(10, 0, 0, 5);
    gw = ip4(10, 0, 0, 1);
    bad = ip4(10, 0, 0, 66);
    none4 = ip4(0, 0, 0, 0);
    all4 = ip4(255, 255, 255, 255);
    localhost = ip4(127, 0, 0, 1);
    us6 = ip6(0xfd00, 5);
    gw6 = ip6(0xfd00, 1);
    us_ll = ip6(0xfe80, 5);
    router_ll = ip6(0xfe80, 1);
    bad_ll = ip6(0xfe80, 66);
    any6 = ip6(0, 0);
    c.time_names[0] = "time.example.org";
    c.resolvers[0] = ip4(10, 0, 0, 53);
    c.n_resolvers = 1;
    c.time_servers[0] = ip4(10, 0, 0, 123);
    c.n_time_servers = 1;
    c.control_ports[0] = 32768;
    c.contexts[0].port = 81;
    c.contexts[1].port = 1883;
    c.contexts[1].direct = true;
    c.contexts[2].port = 1884;
    c.contexts[2].direct = true;
    c.contexts[2].tasks = "mqtt";
    c.n_contexts = 3;
    assert_int_equal(cmx_isolation_init(&iso, &c, flows, 64), CMX_OK);
    memset(&eth, 0, sizeof eth);
    memcpy(eth.mac, our_mac, 6);
    eth.own[0] = us;
    eth.own[1] = us6;
    eth.own[2] = us_ll;
    eth.n_own = 3;
    eth.router4 = ip4(10, 0, 0, 254);
    lo = (struct cmx_iface){.class_ = CMX_IFACE_LOOPBACK, .index = 7};
    now = 1000;
    return 0;
}

static cmx_reason ask_on(const struct cmx_iface *iface, cmx_direction dir, const struct test_frame *f)
{
    const struct cmx_frame v = frame_view(f);
    const struct cmx_decision d = cmx_isolation_check(&iso, iface, dir, &v, now);

    assert_int_equal(d.verdict, cmx_reason_verdict(d.why));
    return d.why;
}

#define IN(f) ask_on(&eth, CMX_IN, f)
#define OUT(f) ask_on(&eth, CMX_OUT, f)

static cmx_reason tcp_in(const struct cmx_ip *from, unsigned sport, unsigned dport, uint8_t flags, uint32_t seq,
                         uint32_t ack)
{
    struct test_frame f;

    frame_tcp(&f, our_mac, gw_mac, from, sport, &us, dport, flags, seq, ack, 0);
    return IN(&f);
}

static cmx_reason tcp_out(const struct cmx_ip *to, unsigned sport, unsigned dport, uint8_t flags, uint32_t seq,
                          uint32_t ack)
{
    struct test_frame f;

    frame_tcp(&f, gw_mac, our_mac, &us, sport, to, dport, flags, seq, ack, 0);
    return OUT(&f);
}

/* gw_sends and we_send return the policy's verdict on a segment of the session from port 50000, sent by the gateway or
 * by the device. */
static cmx_reason gw_sends(uint8_t flags, uint32_t seq, uint32_t ack)
{
    return tcp_in(&gw, 22, 50000, flags, seq, ack);
}

static cmx_reason we_send(uint8_t flags, uint32_t seq, uint32_t ack)
{
    return tcp_out(&gw, 50000, 22, flags, seq, ack);
}

static void open_session(uint16_t port)
{
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, port, &gw, 22, now), CMX_OK);
}

/* Adds a neighbour with the hardware address gw_mac, which the network stack knew before the policy came into force. */
static void known_to_the_stack(const struct cmx_ip *ip, uint32_t lifetime_s)
{
    struct cmx_filter_neighbour n = {.ip = *ip, .lifetime_s = lifetime_s};

    memcpy(n.mac, gw_mac, sizeof n.mac);
    cmx_isolation_neighbour(&iso, &n, now);
}

/* Opens a session from port 50000. Our sequence numbers begin at 1000, the gateway's at 9000. */
static void session_up(void)
{
    open_session(50000);
    assert_int_equal(we_send(CMX_TCP_SYN, 1000, 0), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1001), CMX_REASON_SESSION);
    assert_int_equal(we_send(CMX_TCP_ACK, 1001, 9001), CMX_REASON_SESSION);
}

static void zeroed_policy_denies(void **state)
{
    struct cmx_isolation empty;
    struct cmx_iso_config c = {.n_contexts = 1};
    struct test_frame f;
    struct cmx_frame v;

    (void)state;
    memset(&empty, 0, sizeof empty);
    frame_tcp(&f, our_mac, gw_mac, &gw, 22, &us, 50000, CMX_TCP_ACK, 1, 1, 0);
    v = frame_view(&f);
    assert_int_equal(cmx_isolation_check(&empty, &eth, CMX_IN, &v, 0).verdict, CMX_DENY);
    assert_int_equal(cmx_isolation_init(&empty, &c, flows, 64), CMX_EINVAL); /* the port is 0 */
    assert_int_equal(cmx_isolation_check(&empty, &eth, CMX_OUT, &v, 0).verdict, CMX_DENY);
    c.n_contexts = CMX_ISO_CONTEXTS_MAX + 1;
    assert_int_equal(cmx_isolation_configure(&empty, &c), CMX_EINVAL);
}

static void session_passes_and_nothing_beside_it(void **state)
{
    const struct cmx_ip gw2 = ip4(10, 0, 0, 2), us2 = ip4(10, 0, 0, 6);
    struct test_frame f;
    unsigned port;

    (void)state;
    /* No packet of the session passes before the engine announces the session. */
    assert_int_equal(we_send(CMX_TCP_SYN, 1000, 0), CMX_REASON_NO_FLOW);
    session_up();
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001, 1001), CMX_REASON_SESSION);
    /* Packets from the gateway's address and port reach no other port of the device. */
    for (port = 1; port < 65536; port++)
        if (port != 50000)
            assert_int_equal(tcp_in(&gw, 22, port, CMX_TCP_ACK, 9001, 1001), CMX_REASON_NO_FLOW);
    /* Packets from another port or address do not reach this port. */
    assert_int_equal(tcp_in(&gw, 23, 50000, CMX_TCP_ACK, 9001, 1001), CMX_REASON_NO_FLOW);
    assert_int_equal(tcp_in(&gw2, 22, 50000, CMX_TCP_ACK, 9001, 1001), CMX_REASON_NO_FLOW);
    /* The device sends from no other port, and to no other port of the gateway. */
    assert_int_equal(tcp_out(&gw, 50001, 22, CMX_TCP_SYN, 1, 0), CMX_REASON_NO_FLOW);
    assert_int_equal(tcp_out(&gw, 50000, 23, CMX_TCP_SYN, 1, 0), CMX_REASON_NO_FLOW);
    /* The session's first segment has set its local address. */
    frame_tcp(&f, gw_mac, our_mac, &us2, 50000, &gw, 22, CMX_TCP_ACK, 1001, 9001, 0);
    assert_int_equal(OUT(&f), CMX_REASON_NO_FLOW);
    frame_tcp(&f, our_mac, gw_mac, &gw, 22, &us2, 50000, CMX_TCP_ACK, 9001, 1001, 0);
    assert_int_equal(IN(&f), CMX_REASON_NO_FLOW);
}

static void gateway_cannot_open(void **state)
{
    (void)state;
    open_session(50000);
    assert_int_equal(gw_sends(CMX_TCP_SYN, 9000, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9000, 1), CMX_REASON_TCP_STATE);
    assert_int_equal(we_send(CMX_TCP_SYN, 1000, 0), CMX_REASON_SESSION);
    /* A simultaneous open, a wrong acknowledgement, and data before the handshake are dropped. */
    assert_int_equal(gw_sends(CMX_TCP_SYN, 9000, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1002), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_RST | CMX_TCP_ACK, 9000, 1002), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_RST, 9000, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_FIN | CMX_TCP_ACK, 9000, 1001), CMX_REASON_TCP_STATE);
    /* If the gateway still has an old connection on these ports, a segment of that connection and our reset pass. */
    assert_int_equal(gw_sends(CMX_TCP_ACK, 77, 88), CMX_REASON_SESSION);
    assert_int_equal(we_send(CMX_TCP_RST, 88, 0), CMX_REASON_SESSION);
    assert_int_equal(we_send(CMX_TCP_ACK, 1001, 9001), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_RST | CMX_TCP_ACK, 0, 1001), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1001), CMX_REASON_SESSION);
    /* In an established connection a SYN is dropped, except a repeated SYN+ACK. */
    assert_int_equal(gw_sends(CMX_TCP_SYN, 9001, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1001), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_SYN | CMX_TCP_ACK, 9001, 1001), CMX_REASON_TCP_STATE);
    assert_int_equal(we_send(CMX_TCP_SYN | CMX_TCP_ACK, 1000, 0), CMX_REASON_TCP_STATE);
}

static void window_is_kept(void **state)
{
    (void)state;
    session_up();
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001 + 5000, 1001), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001 + 200000, 1001), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9000, 1001), CMX_REASON_SESSION); /* a keepalive */
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001 - 100000, 1001), CMX_REASON_TCP_STATE);
    /* An acknowledgement of a byte that was never sent is dropped. */
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001, 1002), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(0, 9001, 1001), CMX_REASON_TCP_STATE);
    /* A reset without ACK passes only with exactly the next sequence number. A reset with ACK passes anywhere in the
     * window if it acknowledges what was sent.
     */
    assert_int_equal(gw_sends(CMX_TCP_RST, 9001, 0), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_RST, 9002, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_RST | CMX_TCP_ACK, 9000, 1001), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_RST | CMX_TCP_ACK, 9001, 1001), CMX_REASON_SESSION);
}

static void closed_socket_says_farewell_then_is_gone(void **state)
{
    (void)state;
    session_up();
    flow_close(&iso, CMX_FLOW_SESSION, &none4, 50000, &gw, 22, now);
    assert_int_equal(we_send(CMX_TCP_FIN | CMX_TCP_ACK, 1001, 9001), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_FIN | CMX_TCP_ACK, 9001, 1002), CMX_REASON_SESSION);
    assert_int_equal(we_send(CMX_TCP_SYN, 1, 0), CMX_REASON_TCP_STATE);
    now += CMX_ISO_CLOSING_S;
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9002, 1002), CMX_REASON_NO_FLOW);
    assert_int_equal(cmx_isolation_flows(&iso), 0);
    open_session(50000); /* the port may be used again */
    assert_int_equal(we_send(CMX_TCP_SYN, 5, 0), CMX_REASON_SESSION);
}

static void engine_is_held_to_the_configuration(void **state)
{
    struct cmx_iso_config c = iso.config;
    struct cmx_ip other = ip4(192, 0, 2, 9), group = ip4(224, 0, 0, 1);
    unsigned i;

    (void)state;
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 50000, &gw, 2222, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 50000, &none4, 22, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 50000, &group, 22, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 50000, &localhost, 22, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 0, &gw, 22, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_RELAY, &localhost, 40000, &localhost, 80, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_LISTEN, &localhost, 81, NULL, 0, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 50000, &other, 22, now), CMX_OK);
    c.gateways[0] = (struct cmx_iso_gateway){.ip = gw, .port = 22};
    c.n_gateways = 1;
    assert_int_equal(cmx_isolation_configure(&iso, &c), CMX_OK);
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 50001, &other, 22, now), CMX_EPERM);
    for (i = 0; i < 63; i++)
        open_session((uint16_t)(50100 + i));
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &none4, 60000, &gw, 22, now), CMX_ENOSPC);
    flow_close(&iso, CMX_FLOW_SESSION, &none4, 50100, &gw, 22, now);
    open_session(60000);
}

static void closing_flows_make_room(void **state)
{
    struct test_frame f;
    unsigned i;

    (void)state;
    /* There are more connections than flow entries, and a closed connection keeps its entry for 30 s. But a new
     * connection may replace a closed one. */
    for (i = 0; i < 200; i++) {
        const uint16_t port = (uint16_t)(40000 + i);

        now++;
        assert_int_equal(flow_open(&iso, CMX_FLOW_RELAY, &localhost, port, &localhost, 81, now), CMX_OK);
        frame_tcp(&f, our_mac, our_mac, &localhost, port, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
        assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_RELAY);
        flow_close(&iso, CMX_FLOW_RELAY, &localhost, port, &localhost, 81, now);
    }
}

/* A device logs in again and again, each time from another port. The engine announces the end of a session with the
 * address that the socket had before it connected, which is unspecified. The end of each session must nevertheless free
 * its flow. */
static void each_session_gives_its_flow_back(void **state)
{
    (void)state;
    for (uint16_t port = 50000; port < 50200; port++) {
        now++;
        open_session(port);
        assert_int_equal(tcp_out(&gw, port, 22, CMX_TCP_SYN, 1000, 0), CMX_REASON_SESSION);
        flow_close(&iso, CMX_FLOW_SESSION, &none4, port, &gw, 22, now);
        assert_int_equal(cmx_isolation_flows(&iso), 0);
    }
    now += CMX_ISO_CLOSING_S;
    assert_int_equal(tcp_out(&gw, 50199, 22, CMX_TCP_SYN, 1000, 0), CMX_REASON_NO_FLOW);
}

static void adopted_session_is_picked_up(void **state)
{
    (void)state;
    open_session(50000); /* the session was established before isolation began */
    cmx_isolation_adopt(&iso);
    assert_int_equal(gw_sends(CMX_TCP_RST | CMX_TCP_ACK, 9001, 1001), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001, 1001), CMX_REASON_SESSION);
    assert_int_equal(we_send(CMX_TCP_ACK, 1001, 9001), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_RST, 123456789, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001, 5000), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001, 1001), CMX_REASON_SESSION);
}

/* The session's SYN was sent before isolation began. Then the answer arrives, or the SYN is repeated. */
static void adopted_session_may_still_be_connecting(void **state)
{
    (void)state;
    open_session(50000);
    cmx_isolation_adopt(&iso);
    assert_int_equal(gw_sends(CMX_TCP_SYN, 9000, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(gw_sends(CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1001), CMX_REASON_SESSION);
    assert_int_equal(we_send(CMX_TCP_ACK, 1001, 9001), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_ACK, 9001, 1001), CMX_REASON_SESSION);
    assert_int_equal(gw_sends(CMX_TCP_SYN | CMX_TCP_ACK, 123456, 1001), CMX_REASON_TCP_STATE);

    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &us, 50001, &gw, 22, now), CMX_OK);
    cmx_isolation_adopt(&iso);
    assert_int_equal(tcp_out(&gw, 50001, 22, CMX_TCP_SYN, 1000, 0), CMX_REASON_SESSION);
    assert_int_equal(tcp_in(&gw, 22, 50001, CMX_TCP_SYN | CMX_TCP_ACK, 9000, 5001), CMX_REASON_TCP_STATE);
    assert_int_equal(tcp_in(&gw, 22, 50001, CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1001), CMX_REASON_SESSION);
    assert_int_equal(tcp_out(&gw, 50001, 22, CMX_TCP_SYN, 1000, 0), CMX_REASON_TCP_STATE);
    assert_int_equal(tcp_out(&gw, 50001, 22, CMX_TCP_ACK, 1001, 9001), CMX_REASON_SESSION);
}

static void loopback_is_the_proxys(void **state)
{
    struct test_frame f;

    (void)state;
    assert_int_equal(flow_open(&iso, CMX_FLOW_RELAY, &none4, 40000, &localhost, 81, now), CMX_OK);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_RELAY);
    frame_tcp(&f, our_mac, our_mac, &localhost, 81, &localhost, 40000, CMX_TCP_SYN | CMX_TCP_ACK, 1, 2, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_RELAY);
    /* A connection from another address or port belongs to another task, and is dropped. A connection to another
     * port or to the device's own address is also dropped. */
    frame_tcp(&f, our_mac, our_mac, &us, 40000, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40001, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 80, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    frame_tcp(&f, our_mac, our_mac, &us, 40000, &us, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    /* UDP passes only to a control port, and not to the device's own address. */
    frame_udp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 53, NULL, 4);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    frame_udp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 32768, NULL, 4);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_CONTROL);
    frame_udp(&f, our_mac, our_mac, &us, 40000, &us, 32768, NULL, 4);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    /* A packet with a loopback address that comes from the link is spoofed. */
    frame_tcp(&f, our_mac, gw_mac, &localhost, 40000, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(IN(&f), CMX_REASON_MARTIAN);
}

/* A TCP packet is dropped if its source or destination is an unspecified, broadcast or multicast address. It must not
 * match a flow whose local address is not known yet, although the policy stores that address as :: or 0.0.0.0. */
static void an_end_of_tcp_is_one_host(void **state)
{
    const struct cmx_ip nobody[] = {none4, all4, ip4(224, 0, 0, 1)}, nobody6[] = {any6, ip6(0xff02, 1)};
    struct test_frame f, q;

    (void)state;
    session_up();
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &any6, 50001, &gw6, 22, now), CMX_OK);
    assert_int_equal(flow_open(&iso, CMX_FLOW_RELAY, &none4, 40000, &localhost, 81, now), CMX_OK);
    for (size_t i = 0; i < sizeof nobody / sizeof nobody[0]; i++) {
        frame_tcp(&f, gw_mac, our_mac, &nobody[i], 50000, &gw, 22, CMX_TCP_ACK, 1001, 9001, 0);
        assert_int_equal(OUT(&f), CMX_REASON_MARTIAN);
        frame_tcp(&f, our_mac, gw_mac, &gw, 22, &nobody[i], 50000, CMX_TCP_ACK, 9001, 1001, 0);
        assert_int_equal(IN(&f), CMX_REASON_MARTIAN);
        frame_tcp(&f, our_mac, our_mac, &nobody[i], 40000, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
        assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_MARTIAN);
        frame_tcp(&f, our_mac, our_mac, &localhost, 81, &nobody[i], 40000, CMX_TCP_SYN | CMX_TCP_ACK, 1, 2, 0);
        assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_MARTIAN);
        /* An ICMP error that quotes a segment from such an address is dropped, too. */
        frame_ip(&f, our_mac, gw_mac, &bad, &nobody[i], CMX_IP_ICMP);
        f.d[f.l4] = 3;
        frame_tcp(&q, gw_mac, our_mac, &nobody[i], 50000, &gw, 22, CMX_TCP_ACK, 1000, 9001, 0);
        memcpy(f.d + f.l4 + 8, q.d + 14, 28);
        f.len += 36;
        frame_finish(&f);
        assert_int_equal(IN(&f), CMX_REASON_FORM);
    }
    for (size_t i = 0; i < sizeof nobody6 / sizeof nobody6[0]; i++) {
        frame_tcp(&f, gw_mac, our_mac, &nobody6[i], 50001, &gw6, 22, CMX_TCP_SYN, 1000, 0, 0);
        assert_int_equal(OUT(&f), CMX_REASON_MARTIAN);
    }
    assert_int_equal(we_send(CMX_TCP_ACK, 1001, 9001), CMX_REASON_SESSION);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_RELAY);
}

/* A pair is a connection of the engine to itself. Both ends must be on loopback, and the addresses and ports of both
 * ends must match. No other connection reaches either end. */
static void pair_is_the_engines_own(void **state)
{
    struct test_frame f;

    (void)state;
    assert_int_equal(flow_open(&iso, CMX_FLOW_PAIR, &us, 40000, &localhost, 40001, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_PAIR, &localhost, 40000, &gw, 22, now), CMX_EPERM);
    assert_int_equal(flow_open(&iso, CMX_FLOW_PAIR, &localhost, 40000, NULL, 0, now), CMX_EPERM);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 40001, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    assert_int_equal(flow_open(&iso, CMX_FLOW_PAIR, &localhost, 40000, &localhost, 40001, now), CMX_OK);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_RELAY);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40001, &localhost, 40000, CMX_TCP_SYN | CMX_TCP_ACK, 1, 2, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_RELAY);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40002, &localhost, 40001, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    frame_tcp(&f, our_mac, gw_mac, &localhost, 40000, &localhost, 40001, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(IN(&f), CMX_REASON_MARTIAN); /* spoofed: it comes from the link */
    flow_close(&iso, CMX_FLOW_PAIR, &localhost, 40000, &localhost, 40001, now);
    now += CMX_ISO_CLOSING_S + 1;
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 40001, CMX_TCP_ACK, 1, 1, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
}

static void direct_listener_serves_those_it_is_declared_for(void **state)
{
    struct test_frame f;

    (void)state;
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 1883, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW); /* the listener is not open yet */
    assert_int_equal(flow_open(&iso, CMX_FLOW_LISTEN, &localhost, 1883, NULL, 0, now), CMX_OK);
    assert_int_equal(flow_open(&iso, CMX_FLOW_LISTEN, &localhost, 1884, NULL, 0, now), CMX_OK);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_DIRECT);
    frame_tcp(&f, our_mac, our_mac, &localhost, 1883, &localhost, 40000, CMX_TCP_SYN | CMX_TCP_ACK, 1, 2, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_DIRECT);
    /* No connection may be opened from the listener's port. */
    frame_tcp(&f, our_mac, our_mac, &localhost, 1883, &localhost, 81, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NO_FLOW);
    /* Only peers that were announced reach a listener that is restricted to tasks. */
    frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, 1884, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NOT_PEER);
    assert_int_equal(flow_open(&iso, CMX_FLOW_CLAIM, &none4, 40000, &localhost, 1884, now), CMX_OK);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_DIRECT);
    frame_tcp(&f, our_mac, our_mac, &us, 40000, &localhost, 1884, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NOT_PEER);
    frame_tcp(&f, our_mac, our_mac, &localhost, 40001, &localhost, 1884, CMX_TCP_SYN, 1, 0, 0);
    assert_int_equal(ask_on(&lo, CMX_IN, &f), CMX_REASON_NOT_PEER);
}

/* A closed connection may still send its last segments, but a new socket on its port cannot open a connection. */
static void closed_ports_open_nothing(void **state)
{
    struct test_frame f, syn;

    (void)state;
    assert_int_equal(flow_open(&iso, CMX_FLOW_LISTEN, &localhost, 1884, NULL, 0, now), CMX_OK);
    assert_int_equal(flow_open(&iso, CMX_FLOW_CLAIM, &none4, 40000, &localhost, 1884, now), CMX_OK);
    assert_int_equal(flow_open(&iso, CMX_FLOW_RELAY, &none4, 40000, &localhost, 81, now), CMX_OK);
    for (unsigned port = 81; port <= 1884; port += 1884 - 81) {
        const bool relay = port == 81;
        const cmx_reason passes = relay ? CMX_REASON_RELAY : CMX_REASON_DIRECT;

        frame_tcp(&syn, our_mac, our_mac, &localhost, 40000, &localhost, port, CMX_TCP_SYN, 1, 0, 0);
        frame_tcp(&f, our_mac, our_mac, &localhost, 40000, &localhost, port, CMX_TCP_FIN | CMX_TCP_ACK, 2, 1, 0);
        assert_int_equal(ask_on(&lo, CMX_IN, &syn), passes);
        flow_close(&iso, relay ? CMX_FLOW_RELAY : CMX_FLOW_CLAIM, &none4, 40000, &localhost, port, now);
        assert_int_equal(ask_on(&lo, CMX_IN, &f), passes);
        assert_int_equal(ask_on(&lo, CMX_IN, &syn), CMX_REASON_TCP_STATE);
    }
}

static void arp_answers_only_what_was_asked(void **state)
{
    struct test_frame f;

    (void)state;
    open_session(50000); /* gw is now a peer */
    frame_arp(&f, our_mac, gw_mac, 2, &gw, our_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    frame_arp(&f, broadcast, our_mac, 1, &us, zero_mac, &bad);
    assert_int_equal(OUT(&f), CMX_REASON_NOT_PEER);
    frame_arp(&f, broadcast, our_mac, 1, &us, zero_mac, &gw);
    assert_int_equal(OUT(&f), CMX_REASON_ARP);
    frame_arp(&f, our_mac, gw_mac, 2, &gw, our_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_ARP);
    frame_arp(&f, our_mac, bad_mac, 2, &bad, our_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    now += CMX_ISO_NEIGHBOUR_S;
    frame_arp(&f, our_mac, gw_mac, 2, &gw, our_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    /* A request passes if it comes from a peer with the peer's known hardware address and asks for our address. */
    frame_arp(&f, broadcast, gw_mac, 1, &gw, zero_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_ARP);
    frame_arp(&f, broadcast, bad_mac, 1, &gw, zero_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    frame_arp(&f, broadcast, bad_mac, 1, &bad, zero_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_NOT_PEER);
    frame_arp(&f, broadcast, gw_mac, 1, &gw, zero_mac, &bad);
    assert_int_equal(IN(&f), CMX_REASON_NOT_FOR_US);
    frame_arp(&f, broadcast, bad_mac, 1, &none4, zero_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_ARP);
    frame_arp(&f, broadcast, bad_mac, 1, &us, zero_mac, &us); /* gratuitous, with our address */
    assert_int_equal(IN(&f), CMX_REASON_NOT_FOR_US);
    frame_arp(&f, broadcast, gw_mac, 1, &gw, zero_mac, &us);
    f.d[14 + 8] = 4; /* the sender's hardware address differs from the frame's source address */
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    frame_arp(&f, broadcast, gw_mac, 3, &gw, zero_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    frame_arp(&f, broadcast, our_mac, 1, &bad, zero_mac, &gw); /* we ask from an address that is not ours */
    assert_int_equal(OUT(&f), CMX_REASON_MARTIAN);
    eth.router4 = none4; /* the router is not known, and 0.0.0.0 is not taken for it */
    frame_arp(&f, broadcast, our_mac, 1, &us, zero_mac, &none4);
    assert_int_equal(OUT(&f), CMX_REASON_NOT_PEER);
}

/* An unsolicited packet must not bind the gateway's address to another hardware address, even in the seconds after a
 * request. */
static void the_first_arp_answer_closes_the_question(void **state)
{
    struct test_frame ask, answer, other;

    (void)state;
    open_session(50000);
    frame_arp(&ask, broadcast, our_mac, 1, &us, zero_mac, &gw);
    frame_arp(&answer, our_mac, gw_mac, 2, &gw, our_mac, &us);
    frame_arp(&other, our_mac, bad_mac, 2, &gw, our_mac, &us);
    assert_int_equal(OUT(&ask), CMX_REASON_ARP);
    assert_int_equal(IN(&answer), CMX_REASON_ARP);
    assert_int_equal(IN(&other), CMX_REASON_UNASKED);
    assert_int_equal(IN(&answer), CMX_REASON_UNASKED);
    assert_int_equal(OUT(&ask), CMX_REASON_ARP); /* a new request may get a new answer, as from a new network card */
    assert_int_equal(IN(&other), CMX_REASON_ARP);
    assert_int_equal(IN(&answer), CMX_REASON_UNASKED);
}

/* A request is dropped until its sender has answered a request of this device, because lwIP also learns hardware
 * addresses from requests. */
static void a_peer_that_never_answered_may_not_ask(void **state)
{
    struct test_frame f;

    (void)state;
    open_session(50000);
    frame_arp(&f, broadcast, bad_mac, 1, &gw, zero_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    known_to_the_stack(&gw, 0);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    frame_arp(&f, broadcast, gw_mac, 1, &gw, zero_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_ARP);
    frame_arp(&f, our_mac, bad_mac, 2, &gw, our_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    frame_arp(&f, our_mac, gw_mac, 2, &gw, our_mac, &us);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
}

/* The same rules apply to neighbour discovery as to ARP. */
static void the_first_advertisement_closes_the_question(void **state)
{
    struct test_frame ask, answer, other, asks_us;

    (void)state;
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &any6, 50000, &gw6, 22, now), CMX_OK);
    frame_nd(&asks_us, our_mac, bad_mac, &gw6, &us6, 135, 0, &us6, 1);
    assert_int_equal(IN(&asks_us), CMX_REASON_UNASKED);
    frame_nd(&ask, gw_mac, our_mac, &us6, &gw6, 135, 0, &gw6, 1);
    frame_nd(&answer, our_mac, gw_mac, &gw6, &us6, 136, 0x60, &gw6, 2);
    frame_nd(&other, our_mac, bad_mac, &gw6, &us6, 136, 0x60, &gw6, 2);
    assert_int_equal(OUT(&ask), CMX_REASON_ND);
    assert_int_equal(IN(&answer), CMX_REASON_ND);
    assert_int_equal(IN(&other), CMX_REASON_UNASKED);
    assert_int_equal(IN(&asks_us), CMX_REASON_WRONG_SERVER);
}

/* A router that the network stack knows when isolation begins becomes the first router. */
static void a_router_of_the_stack_stays(void **state)
{
    struct test_frame f;

    (void)state;
    known_to_the_stack(&router_ll, 600);
    frame_ra(&f, bad_mac, &bad_ll, 1800);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    frame_ra(&f, bad_mac, &router_ll, 0);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    frame_ra(&f, gw_mac, &router_ll, 1800);
    assert_int_equal(IN(&f), CMX_REASON_ND);
}

static void neighbours_answer_only_what_was_asked(void **state)
{
    struct cmx_ip all_nodes;
    struct test_frame f;

    (void)state;
    frame_ra(&f, gw_mac, &router_ll, 1800);
    assert_int_equal(IN(&f), CMX_REASON_ND);
    frame_nd(&f, our_mac, gw_mac, &router_ll, &us_ll, 136, 0x60, &router_ll, 2);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    frame_nd(&f, gw_mac, our_mac, &us_ll, &router_ll, 135, 0, &router_ll, 1);
    assert_int_equal(OUT(&f), CMX_REASON_ND);
    frame_nd(&f, our_mac, gw_mac, &router_ll, &us_ll, 136, 0x60, &router_ll, 2);
    assert_int_equal(IN(&f), CMX_REASON_ND);
    f.d[14 + 7] = 254; /* not 255: the packet came through a router */
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    frame_nd(&f, our_mac, bad_mac, &bad_ll, &us_ll, 136, 0x60, &bad_ll, 2);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    frame_nd(&f, bad_mac, our_mac, &us_ll, &bad_ll, 135, 0, &bad_ll, 1);
    assert_int_equal(OUT(&f), CMX_REASON_NOT_PEER);
    /* Checks solicitations for our address. */
    frame_nd(&f, our_mac, gw_mac, &router_ll, &us_ll, 135, 0, &us_ll, 1);
    assert_int_equal(IN(&f), CMX_REASON_ND);
    frame_nd(&f, our_mac, bad_mac, &router_ll, &us_ll, 135, 0, &us_ll, 1);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    frame_nd(&f, our_mac, bad_mac, &bad_ll, &us_ll, 135, 0, &us_ll, 1);
    assert_int_equal(IN(&f), CMX_REASON_NOT_PEER);
    frame_nd(&f, our_mac, gw_mac, &router_ll, &us_ll, 135, 0, &bad_ll, 1);
    assert_int_equal(IN(&f), CMX_REASON_NOT_FOR_US);
    frame_nd(&f, our_mac, gw_mac, &router_ll, &us_ll, 135, 0, &us_ll, 1);
    f.d[f.l4 + 25] = 0; /* an option of length zero */
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    /* An unsolicited advertisement for one of our addresses, even from the router. */
    all_nodes = ip6(0xff02, 1);
    frame_nd(&f, our_mac, gw_mac, &router_ll, &all_nodes, 136, 0x20, &us_ll, 2);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
}

static void first_router_stays(void **state)
{
    struct test_frame f;

    (void)state;
    frame_ra(&f, gw_mac, &router_ll, 1800);
    assert_int_equal(IN(&f), CMX_REASON_ND);
    frame_ra(&f, bad_mac, &bad_ll, 1800);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    frame_ra(&f, bad_mac, &router_ll, 0); /* the router's address with another hardware address */
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    now += 30u * 86400; /* milliseconds in 32 bits would have wrapped */
    frame_ra(&f, bad_mac, &bad_ll, 1800);
    assert_int_equal(IN(&f), CMX_REASON_ND);
    frame_ra(&f, gw_mac, &gw6, 1800); /* the source is not link-local */
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    frame_nd(&f, our_mac, gw_mac, &router_ll, &us_ll, 137, 0, &us_ll, 0); /* a redirect */
    assert_int_equal(IN(&f), CMX_REASON_ICMP);
    frame_nd(&f, our_mac, gw_mac, &router_ll, &us_ll, 128, 0, &us_ll, 0); /* an echo request */
    assert_int_equal(IN(&f), CMX_REASON_ICMP);
    iso.config.ipv6 = false;
    frame_ra(&f, bad_mac, &bad_ll, 1800);
    assert_int_equal(IN(&f), CMX_REASON_NONE);
}

static void dhcp_is_with_the_server_that_answered(void **state)
{
    struct cmx_ip server = ip4(10, 0, 0, 254), rogue = ip4(10, 0, 0, 66);
    struct test_frame f;
    uint8_t d[300];

    (void)state;
    dhcp_message(d, 2, 2, 77, our_mac, &server);
    frame_udp(&f, our_mac, gw_mac, &server, 67, &us, 68, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    dhcp_message(d, 1, 1, 77, our_mac, NULL);
    frame_udp(&f, broadcast, our_mac, &none4, 68, &all4, 67, d, sizeof d);
    assert_int_equal(OUT(&f), CMX_REASON_DHCP);
    dhcp_message(d, 2, 2, 77, our_mac, &server);
    frame_udp(&f, our_mac, gw_mac, &server, 67, &us, 68, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_DHCP);
    dhcp_message(d, 1, 3, 77, our_mac, &server); /* the device chooses a server */
    frame_udp(&f, broadcast, our_mac, &none4, 68, &all4, 67, d, sizeof d);
    assert_int_equal(OUT(&f), CMX_REASON_DHCP);
    dhcp_message(d, 2, 5, 77, our_mac, &rogue);
    frame_udp(&f, our_mac, bad_mac, &rogue, 67, &us, 68, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
    dhcp_message(d, 2, 5, 78, our_mac, &server); /* another transaction id */
    frame_udp(&f, our_mac, gw_mac, &server, 67, &us, 68, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    dhcp_message(d, 2, 5, 77, our_mac, &server);
    frame_udp(&f, our_mac, gw_mac, &server, 67, &us, 68, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_DHCP);
    dhcp_message(d, 1, 3, 79, our_mac, NULL); /* a renewal is sent by unicast to the server */
    frame_udp(&f, bad_mac, our_mac, &us, 68, &rogue, 67, d, sizeof d);
    assert_int_equal(OUT(&f), CMX_REASON_WRONG_SERVER);
    frame_udp(&f, gw_mac, our_mac, &us, 68, &server, 67, d, sizeof d);
    assert_int_equal(OUT(&f), CMX_REASON_DHCP);
    dhcp_message(d, 2, 5, 79, bad_mac, &server); /* the answer is for another hardware address */
    frame_udp(&f, our_mac, gw_mac, &server, 67, &us, 68, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    now += CMX_ISO_REQUEST_S;
    dhcp_message(d, 2, 5, 79, our_mac, &server);
    frame_udp(&f, our_mac, gw_mac, &server, 67, &us, 68, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    frame_udp(&f, our_mac, bad_mac, &bad, 68, &us, 67, d, sizeof d); /* we are not a server */
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
}

static void dhcp6_is_with_the_server_that_answered(void **state)
{
    static const uint8_t group_mac[6] = {0x33, 0x33, 0, 1, 0, 2};
    struct cmx_ip group = ip6(0xff02, 2);
    uint8_t d[20] = {11, 1, 2, 3};
    struct test_frame f, ask;

    (void)state;
    ((uint8_t *)group.w)[13] = 1;
    frame_udp(&f, our_mac, gw_mac, &router_ll, 547, &us_ll, 546, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    frame_nd(&ask, our_mac, gw_mac, &router_ll, &us_ll, 135, 0, &us_ll, 1);
    assert_int_equal(IN(&ask), CMX_REASON_NOT_PEER);
    frame_udp(&f, group_mac, our_mac, &us_ll, 546, &group, 547, d, sizeof d);
    assert_int_equal(OUT(&f), CMX_REASON_DHCP6);
    assert_int_equal(IN(&ask), CMX_REASON_ND); /* a server resolves our address before it answers */
    now += CMX_ISO_NEIGHBOUR_S;
    assert_int_equal(IN(&ask), CMX_REASON_ND); /* the server may resolve our address again */
    frame_nd(&ask, our_mac, bad_mac, &bad_ll, &us_ll, 135, 0, &us_ll, 1);
    assert_int_equal(IN(&ask), CMX_REASON_NOT_PEER);
    frame_udp(&f, our_mac, bad_mac, &gw6, 547, &us_ll, 546, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_FORM); /* the source is not link-local */
    d[0] = 7;
    frame_udp(&f, our_mac, gw_mac, &router_ll, 547, &us_ll, 546, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_DHCP6);
    frame_udp(&f, our_mac, bad_mac, &bad_ll, 547, &us_ll, 546, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_WRONG_SERVER);
}

static cmx_reason dns(unsigned id, const char *name, unsigned type, size_t extra)
{
    const struct cmx_ip resolver = ip4(10, 0, 0, 53);
    struct test_frame f;
    uint8_t d[300] = {0};
    size_t n = dns_query(d, id, name, type);

    frame_udp(&f, gw_mac, our_mac, &us, 50053, &resolver, 53, d, n + extra);
    return OUT(&f);
}

/* Checks a query with n additional records: an empty OPT record (RFC 6891), then arbitrary bytes for the others. */
static cmx_reason dns_with_records(unsigned n)
{
    static const uint8_t opt[11] = {0, 0, 41, 4, 0xd0};
    const struct cmx_ip resolver = ip4(10, 0, 0, 53);
    struct test_frame f;
    uint8_t d[300];
    size_t len = dns_query(d, 12, "gw.example.org", 1);

    put16(d + 10, n);
    memset(d + len, 'x', n * sizeof opt);
    memcpy(d + len, opt, n ? sizeof opt : 0);
    frame_udp(&f, gw_mac, our_mac, &us, 50053, &resolver, 53, d, len + n * sizeof opt);
    return OUT(&f);
}

static void dns_only_for_the_gateway_and_only_now(void **state)
{
    const struct cmx_ip resolver = ip4(10, 0, 0, 53);
    struct test_frame f;
    uint8_t d[64] = {0};

    (void)state;
    assert_int_equal(dns(7, "gw.example.org", 1, 0), CMX_REASON_NAME);
    assert_int_equal(dns(7, "time.example.org", 1, 0), CMX_REASON_DNS);
    cmx_isolation_resolving(&iso, true);
    assert_int_equal(dns(8, "GW.example.ORG", 1, 0), CMX_REASON_DNS);
    assert_int_equal(dns(9, "gw.example.org", 28, 0), CMX_REASON_DNS);
    assert_int_equal(dns(10, "gw.example.org", 16, 0), CMX_REASON_NAME); /* a TXT query, which nothing needs */
    assert_int_equal(dns(10, "secret.gw.example.org", 1, 0), CMX_REASON_NAME);
    assert_int_equal(dns(10, "gw.example.or", 1, 0), CMX_REASON_NAME);
    assert_int_equal(dns(10, "gw.example.orgs", 1, 0), CMX_REASON_NAME);
    assert_int_equal(dns(10, "evil.org", 1, 0), CMX_REASON_NAME);
    assert_int_equal(dns(10, "gw.example.org", 1, 3), CMX_REASON_NAME); /* bytes follow the question */
    assert_int_equal(dns_with_records(0), CMX_REASON_DNS);
    assert_int_equal(dns_with_records(1), CMX_REASON_DNS);
    assert_int_equal(dns_with_records(2), CMX_REASON_NAME); /* only one OPT record may follow the question */
    assert_int_equal(dns_with_records(20), CMX_REASON_NAME);
    frame_udp(&f, gw_mac, our_mac, &us, 50053, &bad, 53, d, 30);
    assert_int_equal(OUT(&f), CMX_REASON_NOT_PEER);
    put16(d, 8);
    d[2] = 0x81;
    frame_udp(&f, our_mac, gw_mac, &resolver, 53, &us, 50053, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_DNS);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED); /* only one answer is accepted */
    put16(d, 9);
    frame_udp(&f, our_mac, gw_mac, &bad, 53, &us, 50053, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    frame_udp(&f, our_mac, gw_mac, &resolver, 53, &us, 50054, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
    cmx_isolation_resolving(&iso, false);
    assert_int_equal(dns(11, "gw.example.org", 1, 0), CMX_REASON_NAME);
}

static void sntp_answers_only_what_was_asked(void **state)
{
    const struct cmx_ip server = ip4(10, 0, 0, 123);
    struct test_frame f;
    uint8_t d[48] = {0x23};

    (void)state;
    put32(d + 44, 0xabcd1234);
    frame_udp(&f, gw_mac, our_mac, &us, 123, &bad, 123, d, sizeof d);
    assert_int_equal(OUT(&f), CMX_REASON_NOT_PEER);
    frame_udp(&f, gw_mac, our_mac, &us, 123, &server, 123, d, sizeof d);
    assert_int_equal(OUT(&f), CMX_REASON_SNTP);
    d[0] = 0x24;
    frame_udp(&f, our_mac, gw_mac, &server, 123, &us, 123, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED); /* the answer does not carry our timestamp */
    put32(d + 28, 0xabcd1234);
    frame_udp(&f, our_mac, gw_mac, &server, 123, &us, 123, d, sizeof d);
    assert_int_equal(IN(&f), CMX_REASON_SNTP);
    assert_int_equal(IN(&f), CMX_REASON_UNASKED);
}

static void icmp_errors_belong_to_a_session(void **state)
{
    struct test_frame f, q;
    uint8_t *m;

    (void)state;
    session_up();
    frame_ip(&f, our_mac, gw_mac, &bad, &us, CMX_IP_ICMP);
    m = f.d + f.l4;
    m[0] = 3;
    m[1] = 4;
    frame_tcp(&q, gw_mac, our_mac, &us, 50000, &gw, 22, CMX_TCP_ACK, 1000, 9001, 0);
    memcpy(m + 8, q.d + 14, 28);
    f.len += 36;
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_ICMP_ERROR);
    put16(m + 8 + 20, 50001);
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_NO_FLOW);
    put16(m + 8 + 20, 50000);
    put32(m + 8 + 24, 99999); /* the quoted segment is not in flight */
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_TCP_STATE);
    put32(m + 8 + 24, 1000);
    put16(m + 8 + 6, 3); /* the ICMP error quotes a fragment that is not the first */
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    put16(m + 8 + 6, 0);
    f.len -= 4; /* the error must quote eight bytes of IP payload */
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_FORM);
    m[0] = 5; /* a redirect */
    f.len += 4;
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_ICMP);
    m[0] = 8;
    assert_int_equal(IN(&f), CMX_REASON_ICMP);
    assert_int_equal(OUT(&f), CMX_REASON_NOT_FOR_US);
}

static void a_path_mtu_is_possible(void **state)
{
    struct test_frame f, q;
    uint8_t *m;

    (void)state;
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &any6, 50000, &gw6, 22, now), CMX_OK);
    frame_tcp(&q, gw_mac, our_mac, &us6, 50000, &gw6, 22, CMX_TCP_SYN, 1000, 0, 0);
    assert_int_equal(OUT(&q), CMX_REASON_SESSION);
    frame_ip(&f, our_mac, gw_mac, &router_ll, &us6, CMX_IP_ICMP6);
    m = f.d + f.l4;
    memset(m, 0, 8);
    m[0] = 2;
    memcpy(m + 8, q.d + 14, 60);
    f.len += 68;
    put32(m + 4, 1280);
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_ICMP_ERROR);
    put32(m + 4, 1279);
    frame_finish(&f);
    assert_int_equal(IN(&f), CMX_REASON_FORM);
}

static void bytes_are_read_defensively(void **state)
{
    struct test_frame f, g;
    size_t n;

    (void)state;
    session_up();
    frame_tcp(&f, our_mac, gw_mac, &gw, 22, &us, 50000, CMX_TCP_ACK, 9001, 1001, 10);
    assert_int_equal(IN(&f), CMX_REASON_SESSION);
    for (n = 0; n < f.len; n++) { /* every truncation is refused */
        g = f;
        g.len = n;
        assert_int_not_equal(IN(&g), CMX_REASON_SESSION);
    }
    g = f;
    put16(g.d + 20, 0x2000); /* more fragments follow */
    assert_int_equal(IN(&g), CMX_REASON_FRAGMENT);
    put16(g.d + 20, 1); /* the fragment has an offset */
    assert_int_equal(IN(&g), CMX_REASON_FRAGMENT);
    g = f;
    put16(g.d + 12, 0x88cc);
    assert_int_equal(IN(&g), CMX_REASON_ETHERTYPE);
    g = f;
    g.d[23] = 132; /* SCTP */
    assert_int_equal(IN(&g), CMX_REASON_PROTOCOL);
    g = f;
    g.d[f.l4 + 12] = 0x40; /* a TCP header of 16 bytes */
    assert_int_equal(IN(&g), CMX_REASON_LENGTH);
    g = f;
    memcpy(g.d, bad_mac, 6);
    assert_int_equal(IN(&g), CMX_REASON_NOT_FOR_US);
    g = f;
    memcpy(g.d, broadcast, 6);
    assert_int_equal(IN(&g), CMX_REASON_MARTIAN);
    for (unsigned tag = 0; tag < 2; tag++) { /* tag 0 is a priority tag: it names no VLAN */
        g = f;
        memmove(g.d + 18, f.d + 14, f.len - 14);
        put16(g.d + 12, 0x8100);
        put16(g.d + 14, tag ? 5 : 0xe000);
        put16(g.d + 16, 0x0800);
        g.len += 4;
        assert_int_equal(IN(&g), CMX_REASON_VLAN);
    }
}

static void ip_options_are_dropped(void **state)
{
    static const uint8_t route[4] = {131, 3, 4, 0};
    struct test_frame f, g;

    (void)state;
    session_up();
    frame_tcp(&f, our_mac, gw_mac, &gw, 22, &us, 50000, CMX_TCP_ACK, 9001, 1001, 0);
    g = f;
    memmove(g.d + 38, f.d + 34, f.len - 34);
    g.len += 4;
    g.l4 += 4;
    g.d[14] = 0x46;
    memset(g.d + 34, 1, 4); /* four "no operation" options */
    frame_finish(&g);
    assert_int_equal(IN(&g), CMX_REASON_SESSION);
    memcpy(g.d + 34, route, 4);
    frame_finish(&g);
    assert_int_equal(IN(&g), CMX_REASON_IP_OPTION);
    g.d[35] = 9; /* the option is longer than the header */
    frame_finish(&g);
    assert_int_equal(IN(&g), CMX_REASON_IP_OPTION);
    memcpy(g.d + 34, "\0\x44\x44\x44", 4); /* bytes after the end of the list are ignored */
    frame_finish(&g);
    assert_int_equal(IN(&g), CMX_REASON_SESSION);
}

static void ipv6_chains_are_walked(void **state)
{
    struct test_frame f;
    uint8_t *x;

    (void)state;
    assert_int_equal(flow_open(&iso, CMX_FLOW_SESSION, &us6, 50000, &gw6, 22, now), CMX_OK);
    frame_tcp(&f, gw_mac, our_mac, &us6, 50000, &gw6, 22, CMX_TCP_SYN, 1000, 0, 0);
    assert_int_equal(OUT(&f), CMX_REASON_SESSION);
    frame_tcp(&f, our_mac, gw_mac, &gw6, 22, &us6, 50000, CMX_TCP_SYN | CMX_TCP_ACK, 9000, 1001, 0);
    assert_int_equal(IN(&f), CMX_REASON_SESSION);
    memmove(f.d + 62, f.d + 54, 20); /* makes room for an extension header */
    f.len += 8;
    x = f.d + 54;
    memset(x, 0, 8);
    x[0] = CMX_IP_TCP;
    put16(f.d + 14 + 4, 28);
    f.d[14 + 6] = 60; /* destination options with only padding */
    assert_int_equal(IN(&f), CMX_REASON_IP_OPTION);
    f.d[14 + 6] = 44; /* an atomic fragment, RFC 6946 */
    assert_int_equal(IN(&f), CMX_REASON_FRAGMENT);
    f.d[14 + 6] = 43;
    assert_int_equal(IN(&f), CMX_REASON_IP_OPTION);
    f.d[14 + 6] = 0;
    x[1] = 200; /* the header is longer than the packet */
    assert_int_equal(IN(&f), CMX_REASON_TRUNCATED);
    x[1] = 0;
    assert_int_equal(IN(&f), CMX_REASON_IP_OPTION); /* a hop-by-hop header with only padding */
    x[2] = 5;
    x[3] = 2;
    assert_int_equal(IN(&f), CMX_REASON_IP_OPTION); /* a router alert for TCP, not ICMPv6 */
    x[0] = CMX_IP_ICMP6;
    x[4] = x[5] = x[6] = x[7] = 1; /* the alert's value, then a PadN option that is too long */
    assert_int_equal(IN(&f), CMX_REASON_LENGTH);
    x[6] = 5;
    x[7] = 0; /* a second router alert option follows */
    assert_int_equal(IN(&f), CMX_REASON_IP_OPTION);
    memset(x, 0, 8);
    assert_int_equal(IN(&f), CMX_REASON_IP_OPTION); /* the hop-by-hop header occurs twice */
    x[0] = 44;
    x[2] = 5;
    x[3] = 2;
    assert_int_equal(IN(&f), CMX_REASON_FRAGMENT);
    f.d[14 + 6] = 59; /* no header follows */
    assert_int_equal(IN(&f), CMX_REASON_PROTOCOL);
}

static void listener_reports_leave(void **state)
{
    static const uint8_t group_mac[6] = {0x33, 0x33, 0, 0, 0, 22};
    struct cmx_ip group = ip6(0xff02, 22);
    struct test_frame f;
    uint8_t *x;

    (void)state;
    frame_ip(&f, group_mac, our_mac, &us_ll, &group, 0);
    f.d[14 + 7] = 1;
    x = f.d + f.l4;
    x[0] = 58;
    x[2] = 5;
    x[3] = 2;
    x[6] = 1; /* router alert, then padding */
    x[8] = 143;
    f.len += 8 + 8;
    put16(f.d + 14 + 4, 16);
    assert_int_equal(OUT(&f), CMX_REASON_ND);
    f.d[14 + 7] = 64;
    assert_int_equal(OUT(&f), CMX_REASON_FORM);
    f.d[14 + 7] = 1;
    x[8] = 130;
    memcpy(f.d + 6, bad_mac, 6);
    assert_int_equal(IN(&f), CMX_REASON_MARTIAN); /* the source address is our own */
    memcpy(f.d + 14 + 8, bad_ll.w, 16);
    assert_int_equal(IN(&f), CMX_REASON_NOT_PEER);
}

/* ---- properties ---- */

static uint32_t random32(void)
{
    static uint64_t s = 0x9e3779b97f4a7c15u;

    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return (uint32_t)(s >> 16);
}

static void mutate(struct test_frame *f)
{
    unsigned i, n = 1 + random32() % 4;

    for (i = 0; i < n; i++)
        f->d[random32() % (f->len ? f->len : 1)] = (uint8_t)random32();
    if (random32() % 8 == 0)
        f->len = random32() % (f->len + 1);
}

static void some_frame(struct test_frame *f)
{
    const struct cmx_ip *from = random32() % 2 ? &gw : &bad;
    uint8_t d[300];

    switch (random32() % 6) {
    case 0:
        frame_tcp(f, our_mac, gw_mac, from, 22, &us, 49999 + random32() % 3, (uint8_t)random32(), 9001, 1001,
                  random32() % 64);
        break;
    case 1:
        frame_arp(f, our_mac, gw_mac, 1 + random32() % 2, from, our_mac, &us);
        break;
    case 2:
        frame_nd(f, our_mac, gw_mac, &router_ll, &us_ll, (uint8_t)(128 + random32() % 10), 0x60, &us_ll,
                 1 + random32() % 2);
        break;
    case 3:
        dhcp_message(d, 2, 2, random32() % 4, our_mac, from);
        frame_udp(f, our_mac, gw_mac, from, 67, &us, 68, d, sizeof d);
        break;
    case 4:
        frame_udp(f, our_mac, gw_mac, from, 53, &us, 50053, NULL, 30);
        break;
    default:
        frame_ip(f, our_mac, gw_mac, from, &us, CMX_IP_ICMP);
        f->len += 40;
        frame_finish(f);
    }
}

/* A policy without rules passes no TCP, UDP or ICMP packet, whatever its bytes. */
static void nothing_passes_an_empty_policy(void **state)
{
    struct cmx_isolation empty;
    struct cmx_iso_config c = {.gateways = {{.port = 22}}, .n_gateways = 1};
    unsigned i;

    (void)state;
    assert_int_equal(cmx_isolation_init(&empty, &c, NULL, 0), CMX_OK);
    memset(&eth.router4, 0, sizeof eth.router4);
    for (i = 0; i < 300000; i++) {
        struct test_frame f;
        struct cmx_frame v;
        struct cmx_decision d;

        some_frame(&f);
        mutate(&f);
        v = frame_view(&f);
        d = cmx_isolation_check(&empty, i % 5 ? &eth : &lo, i % 3 ? CMX_IN : CMX_OUT, &v, i);
        /* Two packets pass without a rule: a probe for our own address, and the announcement of our own address. */
        if (d.verdict == CMX_ALLOW)
            assert_int_equal(d.why, CMX_REASON_ARP);
    }
}

/* An inbound packet passes as part of a session only if it belongs to an open flow. */
static void only_owned_ports_pass(void **state)
{
    unsigned i;

    (void)state;
    session_up();
    for (i = 0; i < 300000; i++) {
        struct test_frame f;

        some_frame(&f);
        mutate(&f);
        if (IN(&f) == CMX_REASON_SESSION) {
            struct cmx_packet p;
            struct cmx_frame v = frame_view(&f);

            assert_int_equal(cmx_packet_parse(&p, &v), CMX_REASON_NONE);
            assert_int_equal(p.dst.port, 50000);
            assert_int_equal(p.src.port, 22);
            assert_true(cmx_ip_equal(&p.src.ip, &gw));
        }
    }
}

/* If a frame is dropped, it is also dropped when only its head can be read, as in a chained buffer. */
static void a_shorter_head_opens_nothing(void **state)
{
    unsigned i;

    (void)state;
    session_up();
    for (i = 0; i < 100000; i++) {
        struct cmx_isolation before = iso;
        struct test_frame f;
        struct cmx_frame v;
        cmx_reason whole, head;

        some_frame(&f);
        if (i % 2)
            mutate(&f);
        v = frame_view(&f);
        whole = cmx_isolation_check(&iso, &eth, CMX_IN, &v, now).why;
        iso = before;
        v.len = random32() % (v.len + 1);
        head = cmx_isolation_check(&iso, &eth, CMX_IN, &v, now).why;
        iso = before;
        if (cmx_reason_verdict(head) == CMX_ALLOW)
            assert_int_equal(head, whole);
    }
}

static void reasons_have_names(void **state)
{
    int i, j;

    (void)state;
    for (i = 0; i < CMX_REASON_COUNT; i++)
        for (j = 0; j < i; j++)
            assert_string_not_equal(cmx_reason_name((cmx_reason)i), cmx_reason_name((cmx_reason)j));
    assert_int_equal(cmx_reason_verdict(CMX_REASON_NONE), CMX_DENY);
    assert_int_equal(cmx_reason_verdict(CMX_REASON_COUNT), CMX_DENY);
}

#define T(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(zeroed_policy_denies),
        T(session_passes_and_nothing_beside_it),
        T(gateway_cannot_open),
        T(window_is_kept),
        T(closed_socket_says_farewell_then_is_gone),
        T(engine_is_held_to_the_configuration),
        T(closing_flows_make_room),
        T(each_session_gives_its_flow_back),
        T(adopted_session_is_picked_up),
        T(adopted_session_may_still_be_connecting),
        T(loopback_is_the_proxys),
        T(an_end_of_tcp_is_one_host),
        T(pair_is_the_engines_own),
        T(direct_listener_serves_those_it_is_declared_for),
        T(closed_ports_open_nothing),
        T(arp_answers_only_what_was_asked),
        T(the_first_arp_answer_closes_the_question),
        T(a_peer_that_never_answered_may_not_ask),
        T(the_first_advertisement_closes_the_question),
        T(a_router_of_the_stack_stays),
        T(neighbours_answer_only_what_was_asked),
        T(first_router_stays),
        T(dhcp_is_with_the_server_that_answered),
        T(dhcp6_is_with_the_server_that_answered),
        T(dns_only_for_the_gateway_and_only_now),
        T(sntp_answers_only_what_was_asked),
        T(icmp_errors_belong_to_a_session),
        T(a_path_mtu_is_possible),
        T(bytes_are_read_defensively),
        T(ip_options_are_dropped),
        T(ipv6_chains_are_walked),
        T(listener_reports_leave),
        T(nothing_passes_an_empty_policy),
        T(only_owned_ports_pass),
        T(a_shorter_head_opens_nothing),
        T(reasons_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
