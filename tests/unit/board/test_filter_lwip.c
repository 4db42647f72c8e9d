/* The filter on real lwIP, with interfaces whose driver only counts packets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <semaphore.h>

#include "cmxsafe/port/lwip/filter_lwip.h"
#include "lwip/etharp.h"
#include "lwip/inet_chksum.h"
#include "lwip/ip.h"
#include "lwip/netif.h"
#include "lwip/raw.h"
#include "lwip/tcpip.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"

#define EXTRA 2 /* interfaces beyond CMX_IFACES_MAX */

static struct netif netifs[CMX_IFACES_MAX + EXTRA];
static unsigned received, sent; /* packets that reached the driver's own functions */
static unsigned judged;
static size_t judged_len, judged_total;
static bool refuses; /* the judge below refuses every packet */
static bool to_ip;   /* driver_input passes packets on to IP */
static bool intact;  /* the last judged bytes were those of a test frame */

static bool judge(const struct cmx_filter_packet *p)
{
    judged++;
    judged_len = p->len;
    judged_total = p->total;
    intact = true;
    for (size_t i = 0; i < p->len; i++)
        intact = intact && p->data[i] == (uint8_t)i;
    return !refuses;
}

static void neighbour(const struct cmx_filter_neighbour *n)
{
    (void)n;
}

static err_t driver_input(struct pbuf *p, struct netif *netif)
{
    received++;
    if (to_ip)
        return ethernet_input(p, netif);
    pbuf_free(p);
    return ERR_OK;
}

static err_t driver_output(struct netif *netif, struct pbuf *p)
{
    (void)netif;
    (void)p;
    sent++;
    return ERR_OK;
}

static err_t driver_init(struct netif *netif)
{
    netif->name[0] = 't';
    netif->name[1] = 'e';
    netif->mtu = 1500;
    netif->hwaddr_len = 6;
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP;
    netif->linkoutput = driver_output;
    netif->output = etharp_output;
    return ERR_OK;
}

static void add_with(size_t i, uint8_t net)
{
    ip4_addr_t address, mask, none = {0};

    IP4_ADDR(&address, net, 0, i, 1);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    LOCK_TCPIP_CORE();
    assert_non_null(netif_add(&netifs[i], &address, &mask, &none, NULL, driver_init, driver_input));
    cmx_lwip_filter_scan();
    UNLOCK_TCPIP_CORE();
}

static void add(size_t i)
{
    add_with(i, 10);
}

static void take_away(size_t i)
{
    LOCK_TCPIP_CORE();
    netif_remove(&netifs[i]);
    cmx_lwip_filter_scan();
    UNLOCK_TCPIP_CORE();
}

/* Returns a frame of two buffers with the bytes 0, 1, 2, ... */
static struct pbuf *frame(uint16_t first, uint16_t second)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, first, PBUF_RAM);

    assert_non_null(p);
    if (second)
        pbuf_cat(p, pbuf_alloc(PBUF_RAW, second, PBUF_RAM));
    for (uint16_t i = 0; i < p->tot_len; i++)
        pbuf_put_at(p, i, (uint8_t)i);
    return p;
}

static void input(size_t i, struct pbuf *p)
{
    LOCK_TCPIP_CORE();
    (void)netifs[i].input(p, &netifs[i]);
    UNLOCK_TCPIP_CORE();
}

static void output(size_t i)
{
    struct pbuf *p = frame(60, 0);

    LOCK_TCPIP_CORE();
    (void)netifs[i].linkoutput(&netifs[i], p);
    pbuf_free(p);
    UNLOCK_TCPIP_CORE();
}

/* A driver may split a packet over small buffers, such as those of lwIP's pool. A decision about DHCP then needs more
 * bytes than the first buffer holds. */
static void test_the_judge_sees_enough(void **state)
{
    static const struct {
        uint16_t first, second, len;
    } t[] = {{60, 0, 60},   {14, 46, 60},    {255, 87, 342},  {256, 86, 342},
             {340, 2, 342}, {639, 400, 640}, {640, 400, 640}, {1400, 100, 1400}};

    (void)state;
    add(0);
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        judged = 0;
        received = 0;
        input(0, frame(t[i].first, t[i].second));
        assert_int_equal(judged, 1);
        assert_int_equal(received, 1);
        assert_int_equal(judged_len, t[i].len);
        assert_int_equal(judged_total, t[i].first + t[i].second);
        assert_true(intact);
    }
    take_away(0);
}

static void passes(size_t i, bool expected)
{
    judged = received = sent = 0;
    input(i, frame(60, 0));
    output(i);
    assert_int_equal(judged, expected ? 2 : 0);
    assert_int_equal(received, expected);
    assert_int_equal(sent, expected);
}

/* A DHCP server of an attacker may assign a loopback address to the device before isolation is installed. */
static void test_a_loopback_address_is_no_exception(void **state)
{
    (void)state;
    add_with(0, 127);
    passes(0, true);
    take_away(0);
}

/* No packet passes an interface that was added after CMX_IFACES_MAX others, even after one of those was removed. */
static void test_interfaces_beyond_the_limit_are_closed(void **state)
{
    (void)state;
    for (size_t i = 0; i < CMX_IFACES_MAX + EXTRA; i++)
        add(i);
    for (size_t i = 0; i < CMX_IFACES_MAX + EXTRA; i++)
        passes(i, i < CMX_IFACES_MAX);
    take_away(3);
    passes(CMX_IFACES_MAX, false);
    add(3);
    passes(3, true);
    take_away(3);
    take_away(CMX_IFACES_MAX);
    add(CMX_IFACES_MAX); /* a new interface in the memory of the removed one */
    passes(CMX_IFACES_MAX, true);
    passes(CMX_IFACES_MAX + 1, false);
}

/* ---- packets that do not come through netif->input ---- */

static unsigned delivered; /* datagrams that reached port 9 */

static void deliver(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    (void)arg;
    (void)pcb;
    (void)from;
    (void)port;
    delivered++;
    pbuf_free(p);
}

/* Brings interface 0 up, and returns a service on port 9 that counts its datagrams in `delivered`. Call this with
 * lwIP's core lock held. */
static struct udp_pcb *serve(void)
{
    struct udp_pcb *service = udp_new();

    netif_set_up(&netifs[0]);
    netif_set_link_up(&netifs[0]);
    assert_int_equal(udp_bind(service, IP_ANY_TYPE, 9), ERR_OK);
    udp_recv(service, deliver, NULL);
    return service;
}

/* Returns a datagram from 192.0.2.9 to port 9 of 10.0.i.1, without checksums. header: space for the IP header. */
static struct pbuf *datagram(size_t i, bool header)
{
    uint8_t d[32] = {0x45, [3] = sizeof d, [8] = 64, [9] = IP_PROTO_UDP, [12] = 192, 0,        2, 9, 10,
                     0,    (uint8_t)i,     1,        [21] = 9,           [23] = 9,   [25] = 12};
    const size_t skip = header ? 0 : 20;
    struct pbuf *p = pbuf_alloc(header ? PBUF_LINK : PBUF_IP, (u16_t)(sizeof d - skip), PBUF_RAM);
    const u16_t sum = inet_chksum(d, 20);

    assert_non_null(p);
    memcpy(d + 10, &sum, 2);
    pbuf_take(p, d + skip, (u16_t)(sizeof d - skip));
    return p;
}

static void send_raw(struct raw_pcb *raw, const ip_addr_t *to)
{
    struct pbuf *p = datagram(0, false);

    assert_int_equal(raw_sendto(raw, p, to), ERR_OK);
    pbuf_free(p);
    netif_poll(&netifs[0]);
}

/* A task may bind a raw socket to another host's address. If it then sends to the device's own address, lwIP passes the
 * packet straight to IP, on the interface that has the device's address. */
static void test_a_false_source_is_not_judged_already(void **state)
{
    struct udp_pcb *service;
    struct raw_pcb *raw;
    ip_addr_t from, to;

    (void)state;
    add(0);
    IP_ADDR4(&from, 192, 0, 2, 9);
    IP_ADDR4(&to, 10, 0, 0, 1);
    LOCK_TCPIP_CORE();
    service = serve();
    raw = raw_new(IP_PROTO_UDP);
    assert_int_equal(raw_bind(raw, &from), ERR_OK);
    delivered = 0;
    send_raw(raw, &to);
    assert_int_equal(delivered, 0);
    assert_int_equal(raw_bind(raw, &to), ERR_OK); /* a packet from the device's own address goes to `judge` */
    judged = 0;
    send_raw(raw, &to);
    assert_int_equal(judged, 1);
    assert_int_equal(delivered, 1);
    raw_remove(raw);
    udp_remove(service);
    UNLOCK_TCPIP_CORE();
    take_away(0);
}

/* A packet that was judged on input is not judged again in IP. */
static void test_a_packet_is_judged_once(void **state)
{
    struct pbuf *p = datagram(0, true);
    struct udp_pcb *service;

    (void)state;
    add(0);
    LOCK_TCPIP_CORE();
    service = serve();
    UNLOCK_TCPIP_CORE();
    assert_int_equal(pbuf_add_header(p, SIZEOF_ETH_HDR), 0);
    memset(p->payload, 0, SIZEOF_ETH_HDR);
    pbuf_put_at(p, 12, ETHTYPE_IP >> 8);
    judged = delivered = 0;
    to_ip = true;
    input(0, p);
    to_ip = false;
    assert_int_equal(judged, 1);
    assert_int_equal(delivered, 1);
    LOCK_TCPIP_CORE();
    udp_remove(service);
    UNLOCK_TCPIP_CORE();
    take_away(0);
}

/* PPP passes what it receives straight to IP. */
static void test_a_link_that_calls_ip_itself_is_judged(void **state)
{
    struct udp_pcb *service;

    (void)state;
    add(0);
    LOCK_TCPIP_CORE();
    service = serve();
    netifs[0].flags = (u8_t)(netifs[0].flags & ~(NETIF_FLAG_ETHARP | NETIF_FLAG_BROADCAST));
    judged = delivered = 0;
    assert_int_equal(ip_input(datagram(0, true), &netifs[0]), ERR_OK);
    assert_int_equal(judged, 1);
    assert_int_equal(delivered, 1);
    refuses = true;
    assert_int_equal(ip_input(datagram(0, true), &netifs[0]), ERR_OK);
    refuses = false;
    assert_int_equal(judged, 2);
    assert_int_equal(delivered, 1);
    udp_remove(service);
    UNLOCK_TCPIP_CORE();
    take_away(0);
}

static void ready(void *arg)
{
    sem_post(arg);
}

static int setup(void **state)
{
    static const struct cmx_filter_calls calls = {.judge = judge, .neighbour = neighbour};
    sem_t started;

    (void)state;
    sem_init(&started, 0, 0);
    tcpip_init(ready, &started);
    sem_wait(&started);
    if (cmx_lwip_ip_input_hook(NULL, NULL) != 0) /* without a judge, the hook accepts the packet unread */
        return -1;
    return cmx_lwip_filter.install(&calls) == CMX_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_judge_sees_enough),
        cmocka_unit_test(test_a_loopback_address_is_no_exception),
        cmocka_unit_test(test_a_false_source_is_not_judged_already),
        cmocka_unit_test(test_a_packet_is_judged_once),
        cmocka_unit_test(test_a_link_that_calls_ip_itself_is_judged),
        cmocka_unit_test(test_interfaces_beyond_the_limit_are_closed),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
