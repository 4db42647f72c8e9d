#include "cmxsafe/isolation/policy.h"

#include <string.h>

#include "cmxsafe/isolation/flow_table.h"
#include "cmxsafe/isolation/link.h"
#include "cmxsafe/isolation/udp.h"

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER 12
#define SSH_PORT 22

static cmx_reason rule_icmp(const struct cmx_question *q)
{
    const uint8_t type = q->p->l4[0];

    if (type != ICMP_UNREACHABLE && type != ICMP_TIME_EXCEEDED && type != ICMP_PARAMETER)
        return CMX_REASON_ICMP; /* any other message, such as a redirect or an echo */
    return cmx_rule_icmp_error(q);
}

static struct cmx_flow *flow_of(const struct cmx_question *q, bool from_us)
{
    const struct cmx_packet *p = q->p;

    return from_us ? cmx_flow_find(q->iso, &p->src, &p->dst, q->now_s)
                   : cmx_flow_find(q->iso, &p->dst, &p->src, q->now_s);
}

static cmx_reason rule_tcp(const struct cmx_question *q)
{
    struct cmx_flow *f = flow_of(q, q->dir == CMX_OUT);

    if (!f || f->kind != CMX_FLOW_SESSION)
        return CMX_REASON_NO_FLOW;
    return q->dir == CMX_IN ? cmx_flow_tcp_in(f, q->p) : cmx_flow_tcp_out(f, q->p);
}

/* True for a loopback address at either end, and for a multicast or reserved source. */
static bool cannot_be_on_a_wire(const struct cmx_packet *p)
{
    return cmx_ip_is_multicast(&p->src.ip) || cmx_ip_is_loopback(&p->src.ip) || cmx_ip_is_loopback(&p->dst.ip);
}

/* Refuses impossible addresses (CMX_REASON_MARTIAN), outbound frames that are not from our hardware address, and
 * inbound frames to another host's hardware address. */
static cmx_reason check_addresses(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const uint8_t *eth = p->eth;

    if (q->dir == CMX_OUT) {
        if (eth && !cmx_packet_mac_equal(eth + 6, q->iface->mac))
            return CMX_REASON_NOT_FOR_US;
    } else if (eth) {
        if ((eth[6] & 1) || cmx_packet_mac_equal(eth + 6, q->iface->mac))
            return CMX_REASON_MARTIAN;
        if (!(eth[0] & 1) && !cmx_packet_mac_equal(eth, q->iface->mac))
            return CMX_REASON_NOT_FOR_US;
    }
    if (!p->version) /* the packet is ARP */
        return CMX_REASON_NONE;
    if (cannot_be_on_a_wire(p) || (q->dir == CMX_IN && cmx_iface_owns(q->iface, &p->src.ip)))
        return CMX_REASON_MARTIAN;
    if (p->proto == CMX_IP_TCP && eth && (eth[0] & 1))
        return CMX_REASON_MARTIAN;
    return CMX_REASON_NONE;
}

static cmx_reason decide_outside(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    cmx_reason why = check_addresses(q);

    if (why != CMX_REASON_NONE)
        return why;
    if (!p->version) /* the packet is ARP */
        return cmx_link_arp(q);
    if (p->proto == CMX_IP_ICMP6)
        return cmx_link_icmp6(q);
    if (p->proto == CMX_IP_TCP)
        return rule_tcp(q);
    return p->proto == CMX_IP_UDP ? cmx_udp_judge(q) : rule_icmp(q);
}

/* True for a packet of a server's wake-up socket: between loopback addresses, from or to a port that the firmware
 * declared. */
static bool is_control(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const uint16_t *port = q->iso->config.control_ports;

    if (!cmx_ip_is_loopback(&p->src.ip) || !cmx_ip_is_loopback(&p->dst.ip))
        return false;
    for (; port < q->iso->config.control_ports + CMX_ISO_CONTROL_MAX; port++)
        if (*port && (*port == p->src.port || *port == p->dst.port))
            return true;
    return false;
}

static const struct cmx_end nobody = {{{0, 0, 0, 0}}, 0};

const struct cmx_iso_context *cmx_isolation_context(const struct cmx_isolation *iso, bool direct,
                                                    const struct cmx_end *place)
{
    const struct cmx_iso_context *c = iso->config.contexts;

    for (; c < iso->config.contexts + iso->config.n_contexts; c++)
        if (c->direct == direct && c->port == place->port && cmx_ip_equal(&c->local, &place->ip))
            return c;
    return NULL;
}

static bool opens(const struct cmx_packet *p)
{
    return (p->tcp_flags & (CMX_TCP_SYN | CMX_TCP_ACK)) == CMX_TCP_SYN;
}

/* Judges a packet to or from a listener on loopback. If a direct context names tasks, only those may connect to
 * its listener; otherwise every task may. From the listener, only answers pass. */
static cmx_reason decide_listener(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const struct cmx_flow *f = cmx_flow_find(q->iso, &p->dst, &nobody, q->now_s);
    const struct cmx_iso_context *c;

    if (!f && !opens(p))
        f = cmx_flow_find(q->iso, &p->src, &nobody, q->now_s);
    c = f ? cmx_isolation_context(q->iso, true, &f->local) : NULL;
    if (!c)
        return CMX_REASON_NO_FLOW;
    /* This code never judges the connection of a permitted task, which has a flow of its own (CMX_FLOW_CLAIM). */
    return c->tasks ? CMX_REASON_NOT_PEER : CMX_REASON_DIRECT;
}

/* Judges loopback, and traffic from the device to its own addresses. */
static cmx_reason decide_loopback(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_flow *f;

    if (p->proto == CMX_IP_UDP)
        return is_control(q) ? CMX_REASON_CONTROL : CMX_REASON_NO_FLOW;
    if (p->proto != CMX_IP_TCP)
        return CMX_REASON_PROTOCOL;
    f = flow_of(q, true);
    if (f)
        f->local.ip = p->src.ip; /* from now on no other task can use the same port with another address */
    else
        f = flow_of(q, false);
    if (!f || f->kind == CMX_FLOW_SESSION)
        return decide_listener(q);
    if (f->closing && opens(p)) /* the port may belong to another task by now */
        return CMX_REASON_TCP_STATE;
    return f->kind == CMX_FLOW_CLAIM ? CMX_REASON_DIRECT : CMX_REASON_RELAY;
}

struct cmx_decision cmx_isolation_check(struct cmx_isolation *iso, const struct cmx_iface *iface, cmx_direction dir,
                                        const struct cmx_frame *frame, uint32_t now_s)
{
    struct cmx_packet p;
    const struct cmx_question q = {iso, iface, dir, &p, now_s};
    struct cmx_decision d = {CMX_DENY, CMX_REASON_INTERNAL};

    if (iface->index < CMX_IFACES_MAX && iface->n_own <= CMX_IFACE_OWN_MAX) {
        d.why = cmx_packet_parse(&p, frame);
        if (d.why == CMX_REASON_NONE)
            d.why = iface->class_ == CMX_IFACE_LOOPBACK ? decide_loopback(&q) : decide_outside(&q);
    }
    d.verdict = cmx_reason_verdict(d.why);
    iso->counts[d.why]++;
    return d;
}

static bool is_valid(const struct cmx_iso_config *c)
{
    size_t i;

    if (c->n_gateways > CMX_ISO_GATEWAYS_MAX || c->n_resolvers > CMX_ISO_ADDRESSES_MAX ||
        c->n_time_servers > CMX_ISO_ADDRESSES_MAX || c->n_contexts > CMX_ISO_CONTEXTS_MAX)
        return false;
    for (i = 0; i < c->n_contexts; i++)
        if (!c->contexts[i].port)
            return false;
    return true;
}

cmx_err cmx_isolation_init(struct cmx_isolation *iso, const struct cmx_iso_config *config, struct cmx_flow *flows,
                           size_t n_flows)
{
    memset(iso, 0, sizeof *iso);
    if (n_flows > CMX_ISO_FLOWS_MAX || (n_flows && !flows) || cmx_isolation_configure(iso, config) != CMX_OK)
        return CMX_EINVAL;
    if (n_flows)
        memset(flows, 0, n_flows * sizeof *flows);
    iso->flows = flows;
    iso->n_flows = n_flows;
    return CMX_OK;
}

cmx_err cmx_isolation_configure(struct cmx_isolation *iso, const struct cmx_iso_config *config)
{
    static const uint8_t localhost[4] = {127, 0, 0, 1};
    struct cmx_iso_context *c = iso->config.contexts;
    size_t i;

    if (!is_valid(config))
        return CMX_EINVAL;
    iso->config = *config;
    for (i = 0; i < config->n_gateways; i++)
        if (!config->gateways[i].port)
            iso->config.gateways[i].port = SSH_PORT;
    for (; c < iso->config.contexts + config->n_contexts; c++)
        if (cmx_ip_is_any(&c->local)) /* :: means 127.0.0.1 */
            cmx_ip_v4(&c->local, localhost);
    return CMX_OK;
}

static bool may_be_gateway(const struct cmx_isolation *iso, const struct cmx_end *peer)
{
    const struct cmx_iso_gateway *g = iso->config.gateways;

    if (!cmx_ip_is_host(&peer->ip) || cmx_ip_is_loopback(&peer->ip))
        return false;
    for (; g < iso->config.gateways + iso->config.n_gateways; g++)
        if (peer->port == g->port && (cmx_ip_is_any(&g->ip) || cmx_ip_equal(&g->ip, &peer->ip)))
            return true;
    return false;
}

static bool is_named(const struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                     const struct cmx_end *peer)
{
    if (kind == CMX_FLOW_LISTEN)
        return !peer && cmx_isolation_context(iso, true, local);
    if (!peer)
        return false;
    if (kind == CMX_FLOW_SESSION)
        return may_be_gateway(iso, peer);
    if (kind == CMX_FLOW_PAIR)
        return cmx_ip_is_loopback(&local->ip) && cmx_ip_is_loopback(&peer->ip);
    return cmx_isolation_context(iso, kind == CMX_FLOW_CLAIM, peer);
}

cmx_err cmx_isolation_socket_open(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                                  const struct cmx_end *peer, uint32_t now_s)
{
    if (!local->port || !is_named(iso, kind, local, peer))
        return CMX_EPERM;
    if (!peer)
        peer = &nobody;
    return cmx_flow_add(iso, kind, local, peer, now_s) ? CMX_OK : CMX_ENOSPC;
}

void cmx_isolation_socket_close(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                                const struct cmx_end *peer, uint32_t now_s)
{
    struct cmx_flow *f = cmx_flow_find(iso, local, peer ? peer : &nobody, now_s);

    if (!f || f->kind != kind)
        return;
    f->closing = true;
    f->expires = now_s; /* a listener's flow ends at once, because another socket may get its port */
    if (kind != CMX_FLOW_LISTEN)
        f->expires += CMX_ISO_CLOSING_S;
}

void cmx_isolation_adopt(struct cmx_isolation *iso)
{
    struct cmx_flow *f;

    for (f = iso->flows; f < iso->flows + iso->n_flows; f++)
        if (f->local.port && f->kind == CMX_FLOW_SESSION && f->state == CMX_TCP_OPENING)
            f->state = CMX_TCP_PICKUP;
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
    const struct cmx_flow *f;
    size_t n = 0;

    for (f = iso->flows; f < iso->flows + iso->n_flows; f++)
        n += f->local.port && !f->closing;
    return n;
}
