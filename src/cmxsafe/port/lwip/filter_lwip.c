#include "cmxsafe/port/lwip/filter_lwip.h"

#include <string.h>

#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/netif.h"
#include "lwip/opt.h"
#include "lwip/pbuf.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/priv/tcpip_priv.h"
#include "lwip/raw.h"
#include "lwip/sys.h"
#include "lwip/tcpip.h"
#include "lwip/timeouts.h"

#define MSS_ANY_PATH (1280 - 40 - 20)
#define PASSED 0x80  /* bit of pbuf.flags that lwIP does not use: the judge has allowed this packet */
#define HEAD_MAX 640 /* maximum number of contiguous bytes that a decision needs; no more are copied */

/* An interface and its original functions, which the guards below replace. Invariant: netif is on netif_list, or the
 * next scan frees the entry. */
struct wrapped {
    struct netif *netif;
    netif_input_fn input;
    netif_linkoutput_fn linkoutput;
    netif_output_fn output4;
    netif_output_ip6_fn output6;
};

static struct {
    const struct cmx_filter_calls *calls; /* NULL: not installed */
    struct wrapped wrapped[CMX_IFACES_MAX];
    struct wrapped closed; /* stands for all interfaces beyond CMX_IFACES_MAX; the guards drop their packets */
    struct raw_pcb *raw[6];
    sys_prot_t level;
} filter;

/* ---- judging ---- */

static bool has_ethernet(const struct netif *netif)
{
    return netif->flags & (NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET);
}

static void put_ip4(struct cmx_ip *out, const ip4_addr_t *a)
{
    cmx_ip_v4(out, (const uint8_t *)&a->addr);
}

static void put_ip6(struct cmx_ip *out, const ip6_addr_t *a)
{
    cmx_ip_v6(out, (const uint8_t *)a->addr);
}

#if LWIP_DNS
static void put_resolvers(struct cmx_iface *iface)
{
    for (u8_t i = 0; i < DNS_MAX_SERVERS && iface->n_resolvers < CMX_IFACE_RESOLVERS_MAX; i++) {
        const ip_addr_t *a = dns_getserver(i);

        if (!a || ip_addr_isany(a))
            continue;
        if (IP_IS_V6(a))
            put_ip6(&iface->resolvers[iface->n_resolvers++], ip_2_ip6(a));
        else
            put_ip4(&iface->resolvers[iface->n_resolvers++], ip_2_ip4(a));
    }
}
#else
static void put_resolvers(struct cmx_iface *iface)
{
    (void)iface;
}
#endif

/* Fills in the interface's current state for each packet, because a stack that lacks status callbacks does not report a
 * changed address. The entries of `own` and `resolvers` beyond their counts are not set. */
static void fill_iface(struct cmx_iface *iface, const struct wrapped *w)
{
    const struct netif *netif = w->netif;

    iface->class_ = CMX_IFACE_OUTSIDE;
    iface->index = (uint8_t)(w - filter.wrapped);
    memcpy(iface->mac, netif->hwaddr, 6);
    iface->n_own = iface->n_resolvers = 0;
    memset(&iface->router4, 0, sizeof iface->router4);
    if (!ip4_addr_isany_val(*netif_ip4_addr(netif)))
        put_ip4(&iface->own[iface->n_own++], netif_ip4_addr(netif));
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES && iface->n_own < CMX_IFACE_OWN_MAX; i++)
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(netif, i)))
            put_ip6(&iface->own[iface->n_own++], netif_ip6_addr(netif, i));
    if (!ip4_addr_isany_val(*netif_ip4_gw(netif)))
        put_ip4(&iface->router4, netif_ip4_gw(netif));
    put_resolvers(iface);
}

/* Points q to the head of the packet, which must be contiguous: to the first buffer of p, or, if that buffer is too
 * short, to a copy in `head`. */
static void put_bytes(struct cmx_filter_packet *q, const struct pbuf *p, uint8_t head[HEAD_MAX])
{
    q->total = p->tot_len;
    q->data = p->payload;
    q->len = p->len;
    if (p->len == p->tot_len || p->len >= HEAD_MAX)
        return;
    q->data = head;
    q->len = pbuf_copy_partial(p, head, HEAD_MAX, 0);
}

static bool ask_judge(const struct cmx_filter_packet *q)
{
    bool passes;

    SYS_ARCH_DECL_PROTECT(level);
    SYS_ARCH_PROTECT(level);
    passes = filter.calls && filter.calls->judge(q);
    SYS_ARCH_UNPROTECT(level);
    return passes;
}

/* True if the judge allows a packet that crosses w's interface. w NULL: the packet goes from the device to itself. */
static bool is_passed(const struct wrapped *w, struct pbuf *p, bool out, bool ethernet)
{
    struct cmx_iface iface;
    struct cmx_filter_packet q = {.iface = &iface, .out = out, .ethernet = ethernet};
    uint8_t head[HEAD_MAX];

    memset(&iface, 0, sizeof iface);
    iface.class_ = CMX_IFACE_LOOPBACK;
    if (w)
        fill_iface(&iface, w);
    put_bytes(&q, p, head);
    return ask_judge(&q);
}

/* ---- packets on the wire ---- */

static struct wrapped *find(const struct netif *netif)
{
    unsigned i;

    for (i = 0; i < CMX_IFACES_MAX; i++)
        if (filter.wrapped[i].netif == netif)
            return &filter.wrapped[i];
    return NULL;
}

/* Returns the interface's entry if the packet may pass, otherwise NULL. */
static const struct wrapped *passage(const struct netif *netif, struct pbuf *p, bool out, bool ethernet)
{
    const struct wrapped *w = find(netif);

    return w && is_passed(w, p, out, ethernet) ? w : NULL;
}

/* Frees a refused packet and returns ERR_OK: after any other result the driver frees the packet and logs an error. */
static err_t guard_input(struct pbuf *p, struct netif *netif)
{
    const struct wrapped *w = passage(netif, p, false, has_ethernet(netif));

    if (w) {
        p->flags |= PASSED;
        return w->input(p, netif);
    }
    pbuf_free(p);
    return ERR_OK;
}

static err_t guard_linkoutput(struct netif *netif, struct pbuf *p)
{
    const struct wrapped *w = passage(netif, p, true, true);

    return w ? w->linkoutput(netif, p) : ERR_OK;
}

static err_t guard_output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    const struct wrapped *w = passage(netif, p, true, false);

    return w ? w->output4(netif, p, to) : ERR_RTE;
}

static err_t guard_output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    const struct wrapped *w = passage(netif, p, true, false);

    return w ? w->output6(netif, p, to) : ERR_RTE;
}

/* ---- replacing the functions of every interface; called in the stack's thread ---- */

static bool is_listed(const struct netif *netif)
{
    const struct netif *n;

    for (n = netif_list; n; n = n->next)
        if (n == netif)
            return true;
    return false;
}

/* True for the loopback interface, whose packets are judged when IP delivers them. An address does not identify it: a
 * DHCP server may assign a loopback address to another interface. */
static bool is_loopback(const struct netif *netif)
{
    return netif->name[0] == 'l' && netif->name[1] == 'o' && ip4_addr_isloopback(netif_ip4_addr(netif));
}

/* Replaces the functions of an interface, and keeps the original ones in w. Called at each scan, because a driver may
 * have set the original functions again. On Ethernet the frame is judged, on other links the packet. */
static void wrap(struct wrapped *w, struct netif *netif)
{
    SYS_ARCH_DECL_PROTECT(level);
    SYS_ARCH_PROTECT(level);
    w->netif = netif;
    if (netif->input != guard_input) {
        w->input = netif->input;
        netif->input = guard_input;
    }
    if (has_ethernet(netif)) {
        if (netif->linkoutput != guard_linkoutput) {
            w->linkoutput = netif->linkoutput;
            netif->linkoutput = guard_linkoutput;
        }
    } else {
        if (netif->output && netif->output != guard_output4) {
            w->output4 = netif->output;
            netif->output = guard_output4;
        }
        if (netif->output_ip6 && netif->output_ip6 != guard_output6) {
            w->output6 = netif->output_ip6;
            netif->output_ip6 = guard_output6;
        }
    }
    SYS_ARCH_UNPROTECT(level);
}

static bool has_guards(const struct netif *netif)
{
    return netif->input == guard_input || netif->linkoutput == guard_linkoutput || netif->output == guard_output4 ||
           netif->output_ip6 == guard_output6;
}

void cmx_lwip_filter_scan(void)
{
    struct netif *netif;
    unsigned i;

    if (!filter.calls)
        return;
    for (i = 0; i < CMX_IFACES_MAX; i++)
        if (filter.wrapped[i].netif && !is_listed(filter.wrapped[i].netif))
            memset(&filter.wrapped[i], 0, sizeof filter.wrapped[i]);
    for (netif = netif_list; netif; netif = netif->next) {
        struct wrapped *w = find(netif);

        if (is_loopback(netif))
            continue;
        if (!w && !has_guards(netif))
            w = find(NULL);
        wrap(w ? w : &filter.closed, netif);
    }
}

/* Limits the segments of IPv6 connections to 1,280-byte packets, which every link carries (RFC 8200 section 5). Waiting
 * for a router's "packet too big" is not possible: lwIP would then send its queued segments as fragments, which are
 * dropped. A connection with unsent data is skipped, because tcp_write relies on the size of its queued segments. */
static void fit_every_path(void)
{
    struct tcp_pcb *pcb;

    for (pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
        if (IP_IS_V6(&pcb->remote_ip) && pcb->mss > MSS_ANY_PATH && !pcb->unsent)
            pcb->mss = MSS_ANY_PATH;
}

static void on_timer(void *arg)
{
    (void)arg;
    cmx_lwip_filter_scan();
    fit_every_path();
    sys_timeout(CMX_LWIP_SCAN_MS, on_timer, NULL);
}

#if LWIP_NETIF_EXT_STATUS_CALLBACK
static netif_ext_callback_t status_callback;

static void on_status(struct netif *netif, netif_nsc_reason_t reason, const netif_ext_callback_args_t *args)
{
    (void)netif;
    (void)reason;
    (void)args;
    cmx_lwip_filter_scan();
}

static void follow_interfaces(void)
{
    netif_add_ext_callback(&status_callback, on_status);
}
#else
static void follow_interfaces(void)
{
}
#endif

/* ---- packets that IP is about to deliver ---- */

static bool owns(const struct netif *netif, const struct cmx_ip *ip)
{
    struct cmx_ip own;

    put_ip4(&own, netif_ip4_addr(netif));
    if (cmx_ip_equal(&own, ip))
        return true;
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
        put_ip6(&own, netif_ip6_addr(netif, i));
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(netif, i)) && cmx_ip_equal(&own, ip))
            return true;
    }
    return false;
}

/* True if the packet comes from the device itself: its source is one of the device's own addresses. */
static bool is_looped(const struct pbuf *p)
{
    const uint8_t *d = p->payload;
    struct cmx_ip from;

    if (p->len >= 40 && d[0] >> 4 == 6)
        cmx_ip_v6(&from, d + 8);
    else if (p->len >= 20)
        cmx_ip_v4(&from, d + 12);
    else
        return true; /* the packet is too short for an address; the judge refuses it */
    if (cmx_ip_is_loopback(&from))
        return true;
    for (const struct netif *n = netif_list; n && !cmx_ip_is_any(&from); n = n->next)
        if (owns(n, &from))
            return true;
    return false;
}

int cmx_lwip_ip_input_hook(struct pbuf *p, struct netif *inp)
{
    bool passes;

    if (!filter.calls || p->flags & PASSED)
        return 0;
    /* The packet has not been judged yet. On a link without Ethernet a driver may call IP itself, as PPP does: judge
     * the packet here. On Ethernet the packet has a false source, or arrived before its interface was wrapped: refuse
     * it. */
    if (is_looped(p))
        passes = is_passed(NULL, p, false, false);
    else
        passes = inp && !has_ethernet(inp) && passage(inp, p, false, false);
    if (passes) {
        p->flags |= PASSED;
        return 0;
    }
    cmx_lwip_filter_scan();
    pbuf_free(p);
    return 1;
}

static u8_t guard_raw(void *arg, struct raw_pcb *pcb, struct pbuf *p, const ip_addr_t *from)
{
    (void)arg;
    (void)pcb;
    (void)from;
    return (u8_t)cmx_lwip_ip_input_hook(p, ip_current_input_netif());
}

static const u8_t protocols[6] = {IP_PROTO_TCP,    IP_PROTO_UDP,  IP_PROTO_ICMP,
                                  IP6_NEXTH_ICMP6, IP_PROTO_IGMP, IP_PROTO_UDPLITE};

/* Creates the raw control blocks that do not exist yet. ERR_MEM: memory is short; another call creates the rest. */
static err_t add_raw(void)
{
    unsigned i;

    for (i = 0; i < sizeof protocols; i++) {
        if (filter.raw[i])
            continue;
        filter.raw[i] = raw_new_ip_type(IPADDR_TYPE_ANY, protocols[i]);
        if (!filter.raw[i])
            return ERR_MEM;
        /* If lwIP is built with IP_SOF_BROADCAST_RECV, a control block without SOF_BROADCAST receives no broadcasts. */
        ip_set_option(filter.raw[i], SOF_BROADCAST);
        raw_recv(filter.raw[i], guard_raw, NULL);
    }
    return ERR_OK;
}

/* ---- installation ---- */

struct call {
    struct tcpip_api_call_data data;
    const struct cmx_filter_calls *calls;
};

static void report(const struct netif *netif, struct cmx_filter_neighbour *n, const uint8_t *mac)
{
    const struct wrapped *w = find(netif);

    if (!w)
        return;
    n->iface = (uint8_t)(w - filter.wrapped);
    memcpy(n->mac, mac, 6);
    SYS_ARCH_DECL_PROTECT(level);
    SYS_ARCH_PROTECT(level);
    filter.calls->neighbour(n);
    SYS_ARCH_UNPROTECT(level);
}

static void report_arp(void)
{
    for (size_t i = 0; i < ARP_TABLE_SIZE; i++) {
        struct cmx_filter_neighbour n = {0};
        struct eth_addr *mac;
        struct netif *netif;
        ip4_addr_t *ip;

        if (!etharp_get_entry(i, &ip, &netif, &mac))
            continue;
        put_ip4(&n.ip, ip);
        report(netif, &n, mac->addr);
    }
}

/* Reports the IPv6 neighbours. lwIP has no public function that lists them. */
static void report_nd6(void)
{
    for (size_t i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
        const struct nd6_neighbor_cache_entry *e = &neighbor_cache[i];
        struct cmx_filter_neighbour n = {0};

        if (e->state < ND6_REACHABLE || e->state > ND6_PROBE) /* the entry is free or unresolved */
            continue;
        put_ip6(&n.ip, &e->next_hop_address);
        for (size_t r = 0; r < LWIP_ND6_NUM_ROUTERS; r++)
            if (default_router_list[r].neighbor_entry == e)
                n.lifetime_s = default_router_list[r].invalidation_timer;
        report(e->netif, &n, e->lladdr);
    }
}

static void report_neighbours(void)
{
    report_arp();
    report_nd6();
}

static err_t install_here(struct tcpip_api_call_data *data)
{
    const struct call *c = (const struct call *)(const void *)data;
    const err_t err = filter.raw[sizeof protocols - 1] ? ERR_OK : add_raw();

    if (!filter.calls) {
        filter.calls = c->calls;
        cmx_lwip_filter_scan();
        follow_interfaces();
        sys_timeout(CMX_LWIP_SCAN_MS, on_timer, NULL);
    }
    report_neighbours();
    return err;
}

static cmx_err install(const struct cmx_filter_calls *calls)
{
    struct call c = {.calls = calls};

    return tcpip_api_call(install_here, &c.data) == ERR_OK ? CMX_OK : CMX_EIO;
}

static void lock(void)
{
    sys_prot_t level = sys_arch_protect();

    filter.level = level;
}

static void unlock(void)
{
    sys_arch_unprotect(filter.level);
}

const struct cmx_filter cmx_lwip_filter = {
    .install = install,
    .lock = lock,
    .unlock = unlock,
};
