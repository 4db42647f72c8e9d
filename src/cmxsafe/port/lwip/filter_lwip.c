#include "cmxsafe/port/lwip/filter_lwip.h"

#include <string.h>

#include "lwip/dns.h"
#include "lwip/netif.h"
#include "lwip/opt.h"
#include "lwip/pbuf.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/priv/tcpip_priv.h"
#include "lwip/raw.h"
#include "lwip/sys.h"
#include "lwip/tcpip.h"
#include "lwip/timeouts.h"

#define ETHERNET_HEADER 14
#define MSS_ANY_PATH (1280 - 40 - 20)
#define HEAD_MAX 640    /* contiguous bytes that any decision needs; chained buffers are copied that far */
#define HEAD_ENOUGH 256 /* the first buffer of a chain is looked at alone from here on: TCP needs no more */

/* An interface whose functions lead through here. Invariant: netif is on netif_list, or the place is free at the next
 * scan. */
struct wrapped {
    struct netif *netif;
    netif_input_fn input;
    netif_linkoutput_fn linkoutput;
    netif_output_fn output4;
    netif_output_ip6_fn output6;
};

static struct {
    cmx_filter_judge judge; /* NULL: not installed */
    void *arg;
    struct wrapped wrapped[CMX_FILTER_IFACES_MAX];
    struct raw_pcb *raw[6];
    sys_prot_t level;
} filter;

/* ---- judging ---- */

static bool has_ethernet(const struct netif *netif)
{
    return netif->flags & (NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET);
}

static void put4(uint8_t out[16], const ip4_addr_t *a)
{
    memset(out, 0, 10);
    memset(out + 10, 0xff, 2);
    memcpy(out + 12, &a->addr, 4);
}

static void put_addresses(struct cmx_filter_packet *q, const struct netif *netif)
{
    unsigned i;

    if (!ip4_addr_isany_val(*netif_ip4_addr(netif)))
        put4(q->own[q->n_own++], netif_ip4_addr(netif));
    for (i = 0; i < LWIP_IPV6_NUM_ADDRESSES && q->n_own < CMX_FILTER_ADDRESSES_MAX; i++)
        if (!ip6_addr_isinvalid(netif_ip6_addr_state(netif, i)))
            memcpy(q->own[q->n_own++], netif_ip6_addr(netif, i)->addr, 16);
    if (!ip4_addr_isany_val(*netif_ip4_gw(netif)))
        put4(q->router4, netif_ip4_gw(netif));
    memcpy(q->mac, netif->hwaddr, 6);
}

#if LWIP_DNS
static void put_ip(uint8_t out[16], const ip_addr_t *a)
{
    if (IP_IS_V6(a))
        memcpy(out, ip_2_ip6(a)->addr, 16);
    else
        put4(out, ip_2_ip4(a));
}

static void put_resolvers(struct cmx_filter_packet *q)
{
    u8_t i;

    for (i = 0; i < DNS_MAX_SERVERS && q->n_resolvers < CMX_FILTER_RESOLVERS_MAX; i++) {
        const ip_addr_t *a = dns_getserver(i);

        if (a && !ip_addr_isany(a))
            put_ip(q->resolvers[q->n_resolvers++], a);
    }
}
#else
static void put_resolvers(struct cmx_filter_packet *q)
{
    (void)q;
}
#endif

/* The head of a chain, contiguous: where it lies, or copied. */
CMX_SMALL static void put_bytes(struct cmx_filter_packet *q, const struct pbuf *p, uint8_t head[HEAD_MAX])
{
    q->total = p->tot_len;
    q->data = p->payload;
    q->len = p->len;
    if (p->len == p->tot_len || p->len >= HEAD_ENOUGH)
        return;
    q->data = head;
    q->len = pbuf_copy_partial(p, head, HEAD_MAX, 0);
}

static bool ask(struct cmx_filter_packet *q)
{
    bool passes;

    SYS_ARCH_DECL_PROTECT(level);
    SYS_ARCH_PROTECT(level);
    passes = filter.judge && filter.judge(filter.arg, q);
    SYS_ARCH_UNPROTECT(level);
    return passes;
}

/* What crosses w's interface; w NULL: what the device sends to itself. */
static bool is_passed(const struct wrapped *w, struct pbuf *p, bool out, bool ethernet)
{
    struct cmx_filter_packet q;
    uint8_t head[HEAD_MAX];

    memset(&q, 0, sizeof q);
    q.loopback = !w;
    q.out = out;
    q.ethernet = ethernet;
    if (w) {
        q.iface = (uint8_t)(w - filter.wrapped);
        put_addresses(&q, w->netif);
        put_resolvers(&q);
    }
    put_bytes(&q, p, head);
    return ask(&q);
}

/* ---- on the wire ---- */

static struct wrapped *find(const struct netif *netif)
{
    unsigned i;

    for (i = 0; i < CMX_FILTER_IFACES_MAX; i++)
        if (filter.wrapped[i].netif == netif)
            return &filter.wrapped[i];
    return NULL;
}

/* The interface's place, if the packet may cross it; else NULL. */
static const struct wrapped *passage(const struct netif *netif, struct pbuf *p, bool out, bool ethernet)
{
    const struct wrapped *w = find(netif);

    return w && is_passed(w, p, out, ethernet) ? w : NULL;
}

/* What is refused counts as taken: an error would only make a driver complain. */
static err_t guard_input(struct pbuf *p, struct netif *netif)
{
    const struct wrapped *w = passage(netif, p, false, has_ethernet(netif));

    if (w)
        return w->input(p, netif);
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

/* For an interface that no place is left for: nothing passes. */
static err_t closed_input(struct pbuf *p, struct netif *netif)
{
    (void)netif;
    pbuf_free(p);
    return ERR_OK;
}

static err_t closed_linkoutput(struct netif *netif, struct pbuf *p)
{
    (void)netif;
    (void)p;
    return ERR_IF;
}

static err_t closed_output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    (void)to;
    return closed_linkoutput(netif, p);
}

static err_t closed_output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    (void)to;
    return closed_linkoutput(netif, p);
}

/* ---- every interface; in the stack's thread ---- */

static bool is_listed(const struct netif *netif)
{
    const struct netif *n;

    for (n = netif_list; n; n = n->next)
        if (n == netif)
            return true;
    return false;
}

/* An interface without a hardware address whose packets never leave: what it carries is judged when it comes in. */
static bool is_loopback(const struct netif *netif)
{
    return ip4_addr_isloopback(netif_ip4_addr(netif));
}

static void close_netif(struct netif *netif)
{
    netif->input = closed_input;
    netif->linkoutput = closed_linkoutput;
    netif->output = closed_output4;
    netif->output_ip6 = closed_output6;
}

/* Also again, where a driver set its own functions anew. On Ethernet the frame is judged, elsewhere the packet. */
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

static bool is_wrapped(const struct netif *netif)
{
    return netif->input == guard_input || netif->input == closed_input;
}

void cmx_lwip_filter_scan(void)
{
    struct netif *netif;
    unsigned i;

    if (!filter.judge)
        return;
    for (i = 0; i < CMX_FILTER_IFACES_MAX; i++)
        if (filter.wrapped[i].netif && !is_listed(filter.wrapped[i].netif))
            memset(&filter.wrapped[i], 0, sizeof filter.wrapped[i]);
    for (netif = netif_list; netif; netif = netif->next) {
        struct wrapped *w = find(netif);

        if (is_loopback(netif) || netif->input == closed_input)
            continue;
        if (!w)
            w = find(NULL);
        if (w)
            wrap(w, netif);
        else
            close_netif(netif);
    }
}

static void unwrap_all(void)
{
    unsigned i;

    for (i = 0; i < CMX_FILTER_IFACES_MAX; i++) {
        struct wrapped *w = &filter.wrapped[i];

        if (!w->netif || !is_listed(w->netif))
            continue;
        if (w->netif->input == guard_input)
            w->netif->input = w->input;
        if (w->netif->linkoutput == guard_linkoutput)
            w->netif->linkoutput = w->linkoutput;
        if (w->netif->output == guard_output4)
            w->netif->output = w->output4;
        if (w->netif->output_ip6 == guard_output6)
            w->netif->output_ip6 = w->output6;
    }
    memset(filter.wrapped, 0, sizeof filter.wrapped);
}

/* Every link takes 1,280 bytes of IPv6 (RFC 8200 section 5). A router's word that the path takes less than ours would
 * come too late: lwIP sends what it has queued in fragments, which are dropped. What waits now was cut for the old
 * size, which tcp_write relies on. */
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

static void forget_interfaces(void)
{
    netif_remove_ext_callback(&status_callback);
}
#else
static void follow_interfaces(void)
{
}

static void forget_interfaces(void)
{
}
#endif

/* ---- what IP is about to hand up ---- */

/* The source of the packet at p is one of the device's own addresses: it never was on a wire. */
static bool is_looped(const struct pbuf *p)
{
    const uint8_t *d = p->payload;
    const struct netif *n;
    ip4_addr_t a4;
    ip6_addr_t a6;

    if (p->len >= 40 && d[0] >> 4 == 6) {
        memset(&a6, 0, sizeof a6);
        memcpy(a6.addr, d + 8, 16);
        if (ip6_addr_isloopback(&a6))
            return true;
        for (n = netif_list; n; n = n->next) {
            unsigned i;

            for (i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
                if (!ip6_addr_isinvalid(netif_ip6_addr_state(n, i)) &&
                    memcmp(netif_ip6_addr(n, i)->addr, a6.addr, 16) == 0)
                    return true;
        }
        return false;
    }
    if (p->len < 20)
        return true; /* can't be told: the judge refuses it */
    memcpy(&a4.addr, d + 12, 4);
    if (ip4_addr_isloopback(&a4))
        return true;
    for (n = netif_list; n; n = n->next)
        if (!ip4_addr_isany_val(*netif_ip4_addr(n)) && ip4_addr_cmp(netif_ip4_addr(n), &a4))
            return true;
    return false;
}

int cmx_lwip_ip_input_hook(struct pbuf *p, struct netif *inp)
{
    bool passes;

    if (!filter.judge)
        return 0;
    if (is_looped(p))
        passes = is_passed(NULL, p, false, false);
    else
        passes = inp && is_wrapped(inp); /* judged when it came in; a new interface's packets were not */
    if (passes)
        return 0;
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

static void remove_raw(void)
{
    unsigned i;

    for (i = 0; i < sizeof protocols; i++)
        if (filter.raw[i])
            raw_remove(filter.raw[i]);
    memset(filter.raw, 0, sizeof filter.raw);
}

static err_t add_raw(void)
{
    unsigned i;

    for (i = 0; i < sizeof protocols; i++) {
        filter.raw[i] = raw_new_ip_type(IPADDR_TYPE_ANY, protocols[i]);
        if (!filter.raw[i]) {
            remove_raw();
            return ERR_MEM;
        }
        ip_set_option(filter.raw[i], SOF_BROADCAST); /* where IP_SOF_BROADCAST_RECV would keep broadcasts from it */
        raw_recv(filter.raw[i], guard_raw, NULL);
    }
    return ERR_OK;
}

/* ---- into force ---- */

struct call {
    struct tcpip_api_call_data data;
    cmx_filter_judge judge;
    void *arg;
};

static err_t install_here(struct tcpip_api_call_data *data)
{
    const struct call *c = (const struct call *)(const void *)data;

    if (filter.judge)
        return ERR_ALREADY;
    if (add_raw() != ERR_OK)
        return ERR_MEM;
    filter.arg = c->arg;
    filter.judge = c->judge;
    cmx_lwip_filter_scan();
    follow_interfaces();
    sys_timeout(CMX_LWIP_SCAN_MS, on_timer, NULL);
    return ERR_OK;
}

static cmx_err install(cmx_filter_judge judge, void *arg)
{
    struct call c = {.judge = judge, .arg = arg};

    switch (tcpip_api_call(install_here, &c.data)) {
    case ERR_OK:
        return CMX_OK;
    case ERR_ALREADY:
        return CMX_EEXIST;
    default:
        return CMX_EIO;
    }
}

static err_t remove_here(struct tcpip_api_call_data *data)
{
    (void)data;
    if (!filter.judge)
        return ERR_OK;
    sys_untimeout(on_timer, NULL);
    forget_interfaces();
    remove_raw();
    unwrap_all();
    filter.judge = NULL;
    return ERR_OK;
}

static void remove_filter(void)
{
    struct call c;

    memset(&c, 0, sizeof c);
    (void)tcpip_api_call(remove_here, &c.data); /* it has no error */
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
    .remove = remove_filter,
    .lock = lock,
    .unlock = unlock,
};
