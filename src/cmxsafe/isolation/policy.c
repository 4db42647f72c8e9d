#include "cmxsafe/isolation/policy.h"

#include <string.h>

#include "cmxsafe/isolation/flow.h"
#include "cmxsafe/isolation/rules.h"

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER 12
#define SSH_PORT 22

static const struct cmx_ip any = {{0, 0, 0, 0}};

bool cmx_ip_in(const struct cmx_ip *list, size_t n, const struct cmx_ip *ip)
{
    size_t i;

    for (i = 0; i < n; i++)
        if (cmx_ip_equal(&list[i], ip))
            return true;
    return false;
}

bool cmx_iface_owns(const struct cmx_iface *iface, const struct cmx_ip *ip)
{
    return !cmx_ip_is_any(ip) && cmx_ip_in(iface->own, iface->n_own, ip);
}

bool cmx_is_resolver(const struct cmx_question *q, const struct cmx_ip *ip)
{
    const struct cmx_iso_config *c = &q->iso->config;

    if (c->n_resolvers)
        return cmx_ip_in(c->resolvers, c->n_resolvers, ip);
    return cmx_ip_in(q->iface->resolvers, q->iface->n_resolvers, ip);
}

static bool is_router(const struct cmx_question *q, const struct cmx_ip *ip)
{
    size_t i;

    for (i = 0; i < CMX_ISO_ROUTERS_MAX; i++)
        if (q->iso->routers[i].used && cmx_ip_equal(&q->iso->routers[i].ip, ip))
            return true;
    return false;
}

bool cmx_is_peer(const struct cmx_question *q, const struct cmx_ip *ip)
{
    const struct cmx_iso_config *c = &q->iso->config;

    if (cmx_ip_is_any(ip) || cmx_ip_is_multicast(ip))
        return false;
    return cmx_ip_equal(&q->iface->router4, ip) || is_router(q, ip) || cmx_is_resolver(q, ip) ||
           cmx_ip_in(c->gateways, c->n_gateways, ip) || cmx_ip_in(c->time_servers, c->n_time_servers, ip) ||
           cmx_ip_equal(&q->iso->dhcp_server[q->iface->index], ip) || cmx_flow_has_peer(q->iso, ip, q->now_ms);
}

/* RFC 5927: an error counts only if it quotes what the session really has in flight. */
cmx_why cmx_rule_icmp_error(const struct cmx_question *q, unsigned version)
{
    struct cmx_packet quoted;
    struct cmx_flow *f;

    if (q->dir != CMX_IN || q->p->l4_have <= 8)
        return CMX_WHY_ICMP;
    if (cmx_packet_parse_quoted(&quoted, q->p->l4 + 8, q->p->l4_have - 8, version) != CMX_WHY_NONE)
        return CMX_WHY_FORM;
    f = cmx_flow_find(q->iso, &quoted.src, quoted.sport, &quoted.dst, quoted.dport, q->now_ms);
    if (!f || f->kind != CMX_FLOW_SESSION || f->state == CMX_TCP_OPENING || !cmx_ip_equal(&q->p->dst, &quoted.src))
        return CMX_WHY_NO_FLOW;
    if (f->state != CMX_TCP_PICKUP &&
        (cmx_after(quoted.seq, f->snd_max) || cmx_after(f->snd_max - (1u << 20), quoted.seq)))
        return CMX_WHY_TCP_STATE;
    return CMX_WHY_ICMP_ERROR;
}

cmx_why cmx_rule_icmp(const struct cmx_question *q)
{
    const uint8_t type = q->p->l4[0];

    if (q->p->extended)
        return CMX_WHY_IP_OPTION;
    if (type != ICMP_UNREACHABLE && type != ICMP_TIME_EXCEEDED && type != ICMP_PARAMETER)
        return CMX_WHY_ICMP; /* redirects, echo, timestamps: nobody's business */
    return cmx_rule_icmp_error(q, 4);
}

static cmx_why rule_tcp(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_flow *f;

    if (p->extended || p->router_alert)
        return CMX_WHY_IP_OPTION;
    if (q->dir == CMX_IN)
        f = cmx_flow_find(q->iso, &p->dst, p->dport, &p->src, p->sport, q->now_ms);
    else
        f = cmx_flow_find(q->iso, &p->src, p->sport, &p->dst, p->dport, q->now_ms);
    if (!f || f->kind != CMX_FLOW_SESSION)
        return CMX_WHY_NO_FLOW;
    return q->dir == CMX_IN ? cmx_flow_tcp_in(f, p) : cmx_flow_tcp_out(f, p);
}

/* Loopback at either end, a group or reserved address as the source. */
static bool cannot_be_on_a_wire(const struct cmx_packet *p)
{
    const uint8_t *s = (const uint8_t *)p->src.w, *d = (const uint8_t *)p->dst.w;

    if (p->ethertype == CMX_ETH_IPV4)
        return s[12] == 127 || d[12] == 127 || s[12] >= 224;
    return s[0] == 0xff || cmx_ip_is_loopback(&p->src) || cmx_ip_is_loopback(&p->dst);
}

/* Addresses that no packet on a wire may have, and hardware addresses that are not ours. */
static cmx_why check_addresses(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const uint8_t *eth = p->eth;

    if (eth && (p->vlan != q->iface->vlan))
        return CMX_WHY_VLAN;
    if (q->dir == CMX_OUT) {
        if (eth && memcmp(eth + 6, q->iface->mac, 6) != 0)
            return CMX_WHY_NOT_FOR_US;
    } else if (eth) {
        if ((eth[6] & 1) || memcmp(eth + 6, q->iface->mac, 6) == 0)
            return CMX_WHY_MARTIAN;
        if (!(eth[0] & 1) && memcmp(eth, q->iface->mac, 6) != 0)
            return CMX_WHY_NOT_FOR_US;
    }
    if (p->ethertype == CMX_ETH_ARP)
        return CMX_WHY_NONE;
    if (cannot_be_on_a_wire(p) || (q->dir == CMX_IN && cmx_iface_owns(q->iface, &p->src)))
        return CMX_WHY_MARTIAN;
    if (p->proto == CMX_IP_TCP && (cmx_ip_is_multicast(&p->dst) || (eth && (eth[0] & 1))))
        return CMX_WHY_MARTIAN;
    return CMX_WHY_NONE;
}

static cmx_why decide_outside(const struct cmx_question *q)
{
    cmx_why why = check_addresses(q);

    if (why != CMX_WHY_NONE)
        return why;
    if (q->p->ethertype == CMX_ETH_ARP)
        return cmx_rule_arp(q);
    switch (q->p->proto) {
    case CMX_IP_TCP:
        return rule_tcp(q);
    case CMX_IP_UDP:
        return cmx_rule_udp(q);
    case CMX_IP_ICMP:
        return cmx_rule_icmp(q);
    case CMX_IP_ICMP6:
        return cmx_rule_icmp6(q);
    default:
        return CMX_WHY_PROTOCOL;
    }
}

static bool is_control(const struct cmx_isolation *iso, uint32_t port)
{
    size_t i;

    for (i = 0; i < CMX_ISO_CONTROL_MAX; i++)
        if (port && iso->config.control_ports[i] == port)
            return true;
    return false;
}

/* To a direct context's listener anyone may connect that it is declared for; from it only answers go out. */
static cmx_why decide_listener(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const bool opens = (p->tcp_flags & (CMX_TCP_SYN | CMX_TCP_ACK)) == CMX_TCP_SYN;
    struct cmx_flow *f = cmx_flow_find(q->iso, &p->dst, p->dport, &any, 0, q->now_ms);

    if (!f && !opens)
        f = cmx_flow_find(q->iso, &p->src, p->sport, &any, 0, q->now_ms);
    if (!f || f->kind != CMX_FLOW_LISTEN)
        return CMX_WHY_NO_FLOW;
    /* Of a restricted listener f->tracked says so: only claimed connections, which were found before. */
    return f->tracked ? CMX_WHY_NOT_PEER : CMX_WHY_DIRECT;
}

/* Loopback, and traffic from the device to its own addresses. */
static cmx_why decide_loopback(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_flow *f;

    if (p->extended || p->router_alert)
        return CMX_WHY_IP_OPTION;
    if (p->proto == CMX_IP_UDP)
        return cmx_ip_is_loopback(&p->src) && cmx_ip_is_loopback(&p->dst) &&
                       (is_control(q->iso, p->dport) || is_control(q->iso, p->sport))
                   ? CMX_WHY_CONTROL
                   : CMX_WHY_NO_FLOW;
    if (p->proto != CMX_IP_TCP)
        return CMX_WHY_PROTOCOL;
    f = cmx_flow_find(q->iso, &p->src, p->sport, &p->dst, p->dport, q->now_ms);
    if (!f)
        f = cmx_flow_find(q->iso, &p->dst, p->dport, &p->src, p->sport, q->now_ms);
    if (f && (f->kind == CMX_FLOW_RELAY || f->kind == CMX_FLOW_PAIR))
        return CMX_WHY_RELAY;
    if (f && f->kind == CMX_FLOW_CLAIM)
        return CMX_WHY_DIRECT;
    return decide_listener(q);
}

struct cmx_decision cmx_isolation_check(struct cmx_isolation *iso, const struct cmx_iface *iface, cmx_direction dir,
                                        const struct cmx_frame *frame, uint32_t now_ms)
{
    struct cmx_packet p;
    const struct cmx_question q = {iso, iface, dir, &p, now_ms};
    struct cmx_decision d = {CMX_DENY, CMX_WHY_INTERNAL};

    if (iface->index < CMX_ISO_IFACES_MAX && iface->n_own <= CMX_ISO_OWN_MAX) {
        d.why = cmx_packet_parse(&p, frame);
        if (d.why == CMX_WHY_NONE)
            d.why = iface->class_ == CMX_IFACE_LOOPBACK ? decide_loopback(&q) : decide_outside(&q);
    }
    d.verdict = cmx_why_verdict(d.why);
    cmx_isolation_count(iso, d.why);
    return d;
}

void cmx_isolation_count(struct cmx_isolation *iso, cmx_why why)
{
    if ((unsigned)why < CMX_WHY_COUNT)
        iso->counts[why]++;
}

static bool is_valid(const struct cmx_iso_config *c)
{
    size_t i;

    if (c->n_gateways > CMX_ISO_ADDRESSES_MAX || c->n_resolvers > CMX_ISO_ADDRESSES_MAX ||
        c->n_time_servers > CMX_ISO_ADDRESSES_MAX || c->n_contexts > CMX_ISO_CONTEXTS_MAX)
        return false;
    for (i = 0; i < c->n_contexts; i++)
        if (!c->contexts[i].port)
            return false;
    return true;
}

/* :: in a context stands for 127.0.0.1. */
static void take_config(struct cmx_isolation *iso, const struct cmx_iso_config *config)
{
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    size_t i;

    iso->config = *config;
    if (!iso->config.gateway_port)
        iso->config.gateway_port = SSH_PORT;
    for (i = 0; i < iso->config.n_contexts; i++)
        if (cmx_ip_is_any(&iso->config.contexts[i].local))
            cmx_ip4(&iso->config.contexts[i].local, localhost);
}

cmx_err cmx_isolation_init(struct cmx_isolation *iso, const struct cmx_iso_config *config, struct cmx_flow *flows,
                           size_t n_flows)
{
    memset(iso, 0, sizeof *iso);
    if (!is_valid(config) || n_flows > CMX_ISO_FLOWS_MAX || (n_flows && !flows))
        return CMX_EINVAL;
    take_config(iso, config);
    iso->flows = flows;
    iso->n_flows = (uint16_t)n_flows;
    cmx_flow_reset(iso);
    return CMX_OK;
}

cmx_err cmx_isolation_configure(struct cmx_isolation *iso, const struct cmx_iso_config *config)
{
    if (!is_valid(config))
        return CMX_EINVAL;
    take_config(iso, config);
    return CMX_OK;
}

/* The context that names this port, or NULL. */
static const struct cmx_iso_context *context_of(const struct cmx_isolation *iso, bool direct, const struct cmx_ip *ip,
                                                uint16_t port)
{
    size_t i;

    for (i = 0; i < iso->config.n_contexts; i++) {
        const struct cmx_iso_context *c = &iso->config.contexts[i];

        if (c->direct == direct && c->port == port && cmx_ip_equal(&c->local, ip))
            return c;
    }
    return NULL;
}

static bool may_be_gateway(const struct cmx_isolation *iso, const struct cmx_ip *peer, uint16_t port)
{
    const struct cmx_iso_config *c = &iso->config;

    if (port != c->gateway_port || cmx_ip_is_any(peer) || cmx_ip_is_multicast(peer) || cmx_ip_is_loopback(peer))
        return false;
    return !c->n_gateways || cmx_ip_in(c->gateways, c->n_gateways, peer);
}

static bool is_named(const struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_ip *local, uint16_t lport,
                     const struct cmx_ip *peer, uint16_t rport, bool *restricted)
{
    const struct cmx_iso_context *c;

    switch (kind) {
    case CMX_FLOW_SESSION:
        return peer && may_be_gateway(iso, peer, rport);
    case CMX_FLOW_RELAY:
        return peer && context_of(iso, false, peer, rport);
    case CMX_FLOW_CLAIM:
        return peer && context_of(iso, true, peer, rport);
    case CMX_FLOW_PAIR:
        return peer && cmx_ip_is_loopback(local) && cmx_ip_is_loopback(peer);
    case CMX_FLOW_LISTEN:
        c = context_of(iso, true, local, lport);
        *restricted = c && c->restricted;
        return c && !peer;
    }
    return false;
}

cmx_err cmx_isolation_socket_open(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_ip *local,
                                  uint16_t local_port, const struct cmx_ip *peer, uint16_t peer_port, uint32_t now_ms)
{
    bool restricted = false;
    struct cmx_flow *f;

    if (!local_port || !is_named(iso, kind, local, local_port, peer, peer_port, &restricted))
        return CMX_EPERM;
    if (!peer)
        peer = &any;
    f = cmx_flow_find(iso, local, local_port, peer, peer_port, now_ms);
    if (f) /* the port is used again before its old connection was forgotten */
        cmx_flow_remove(iso, f);
    f = cmx_flow_add(iso, kind, local, local_port, peer, peer_port, now_ms);
    if (!f)
        return CMX_ENOSPC;
    f->tracked = restricted;
    return CMX_OK;
}

void cmx_isolation_socket_close(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_ip *local,
                                uint16_t local_port, const struct cmx_ip *peer, uint16_t peer_port, uint32_t now_ms)
{
    struct cmx_flow *f = cmx_flow_find(iso, local, local_port, peer ? peer : &any, peer_port, now_ms);

    if (!f || f->kind != kind)
        return;
    if (kind == CMX_FLOW_LISTEN || (kind == CMX_FLOW_SESSION && f->state == CMX_TCP_OPENING)) {
        cmx_flow_remove(iso, f);
        return;
    }
    f->closing = true;
    f->expires = now_ms + CMX_ISO_CLOSING_MS;
}

void cmx_isolation_adopt(struct cmx_isolation *iso)
{
    uint16_t i;

    for (i = 0; i < iso->n_flows; i++)
        if (iso->flows[i].lport && iso->flows[i].kind == CMX_FLOW_SESSION && iso->flows[i].state == CMX_TCP_OPENING)
            iso->flows[i].state = CMX_TCP_PICKUP;
}

void cmx_isolation_resolving(struct cmx_isolation *iso, bool begins)
{
    if (begins)
        iso->resolving++;
    else if (iso->resolving)
        iso->resolving--;
}

size_t cmx_isolation_flows(const struct cmx_isolation *iso)
{
    size_t i, n = 0;

    for (i = 0; i < iso->n_flows; i++)
        n += iso->flows[i].lport && !iso->flows[i].closing;
    return n;
}
