#include "board/lwip/stack.h"

#include <arpa/inet.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "board/lwip/http_bridge.h"
#include "board/lwip/sockets.h"
#include "board/lwip/tap.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/core/log.h"
#include "lwip/netif.h"
#include "lwip/tcpip.h"

static struct board_tap tap;
static struct netif tap_netif;
static struct netif loop_netif;

/* ---- settings in board.ini ---- */

struct addresses {
    ip4_addr_t address, mask, router;
    ip6_addr_t address6;
    bool has6;
};

/* Reads "ADDRESS/BITS", with BITS above 0. False: text is anything else, or the address is of the other family. */
static bool parse_prefix(const char *text, bool v4, struct cmx_ip *ip, uint32_t *bits)
{
    return strchr(text, '/') && cmx_ip_parse_prefix(ip, bits, text, strlen(text)) && *bits && cmx_ip_is_v4(ip) == v4;
}

static cmx_err parse4(const struct board_net *net, struct addresses *a, struct cmx_why *why)
{
    struct cmx_ip ip;
    struct in_addr dns;
    uint32_t bits;

    if (!net->address || !parse_prefix(net->address, true, &ip, &bits))
        return cmx_why_fail(
            why, CMX_EINVAL,
            "[net] address: '%s' is not ADDRESS/BITS; give one, such as 10.0.0.2/24 (Debian's lwIP has no DHCP)",
            net->address ? net->address : "");
    a->address.addr = ip.w[3];
    a->mask.addr = htonl(~0u << (32 - bits));
    if (net->gateway && inet_pton(AF_INET, net->gateway, &a->router.addr) != 1)
        return cmx_why_fail(why, CMX_EINVAL, "[net] gateway: '%s' is not an IPv4 address", net->gateway);
    if (net->dns && inet_pton(AF_INET, net->dns, &dns) != 1)
        return cmx_why_fail(why, CMX_EINVAL, "[net] dns: '%s' is not an IPv4 address", net->dns);
    return CMX_OK;
}

static cmx_err parse6(const struct board_net *net, struct addresses *a, struct cmx_why *why)
{
    struct cmx_ip ip;
    uint32_t bits;

    if (!net->address6)
        return CMX_OK;
    a->has6 = true;
    /* lwIP's on-link prefix is always 64 bits long. */
    if (!parse_prefix(net->address6, false, &ip, &bits) || bits != 64)
        return cmx_why_fail(why, CMX_EINVAL, "[net] address6: '%s' is not ADDRESS/64", net->address6);
    memcpy(a->address6.addr, ip.w, sizeof ip.w);
    return CMX_OK;
}

/* Reads the MAC address from board.ini. If it has none, computes a locally administered address from the TAP device's
 * name (FNV-1a), so that the address is the same at every start. */
static cmx_err parse_mac(const struct board_net *net, const char *name, uint8_t mac[6], struct cmx_why *why)
{
    uint32_t hash = 2166136261u;
    int end = 0;

    if (net->mac) {
        if (strlen(net->mac) == strspn(net->mac, "0123456789abcdefABCDEF:") &&
            sscanf(net->mac, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
                   &mac[5], &end) == 6 &&
            !net->mac[end] && !(mac[0] & 1))
            return CMX_OK;
        return cmx_why_fail(why, CMX_EINVAL, "[net] mac: '%s' is not a unicast MAC address", net->mac);
    }
    for (const char *p = name; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 16777619u;
    mac[0] = 0x02;
    mac[1] = 0x32;
    for (int i = 0; i < 4; i++)
        mac[2 + i] = (uint8_t)(hash >> (8 * i));
    return CMX_OK;
}

/* ---- interfaces: these functions run in the stack's own thread ---- */

static err_t loop_output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    (void)to;
    return netif_loop_output(netif, p);
}

static err_t loop_output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    (void)to;
    return netif_loop_output(netif, p);
}

static err_t loop_init(struct netif *netif)
{
    netif->name[0] = 'l';
    netif->name[1] = 'o';
    netif->output = loop_output4;
    netif->output_ip6 = loop_output6;
    netif->flags = NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

static void add_interfaces(const struct addresses *a)
{
    ip4_addr_t local, mask, none = {0};

    IP4_ADDR(&local, 127, 0, 0, 1);
    IP4_ADDR(&mask, 255, 0, 0, 0);
    netif_add(&loop_netif, &local, &mask, &none, NULL, loop_init, tcpip_input);
    IP_ADDR6_HOST(&loop_netif.ip6_addr[0], 0, 0, 0, 1);
    netif_ip6_addr_set_state(&loop_netif, 0, IP6_ADDR_VALID);
    netif_set_up(&loop_netif);

    netif_add(&tap_netif, &a->address, &a->mask, &a->router, &tap, board_tap_init, tcpip_input);
    netif_create_ip6_linklocal_address(&tap_netif, 1);
    tap_netif.ip6_autoconfig_enabled = 1;
    if (a->has6)
        netif_add_ip6_address(&tap_netif, &a->address6, NULL);
    netif_set_default(&tap_netif);
    netif_set_up(&tap_netif);
}

struct boot {
    const struct addresses *addresses;
    sem_t done;
};

static void on_started(void *arg)
{
    struct boot *b = arg;

    add_interfaces(b->addresses);
    sem_post(&b->done);
}

static void start_stack(const struct addresses *a)
{
    struct boot b = {.addresses = a};

    sem_init(&b.done, 0, 0);
    tcpip_init(on_started, &b);
    sem_wait(&b.done);
    sem_destroy(&b.done);
}

cmx_err board_lwip_start(const char *name, const struct board_net *net, struct cmx_why *why)
{
    struct addresses a = {.has6 = false};
    cmx_err err = parse4(net, &a, why);

    if (err == CMX_OK)
        err = parse6(net, &a, why);
    if (err == CMX_OK)
        err = parse_mac(net, name, tap.mac, why);
    if (err == CMX_OK)
        err = board_tap_open(&tap, name, why);
    if (err != CMX_OK)
        return err;
    start_stack(&a);
    board_sockets_set_dns(net->dns);
    board_sockets_use_lwip();
    board_http_use_lwip();
    cmx_log(CMX_LOG_INFO, "net", "lwIP on %s, %s%s%s", name, net->address, net->address6 ? " " : "",
            net->address6 ? net->address6 : "");
    return board_tap_run(&tap);
}
