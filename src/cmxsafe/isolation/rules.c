#include "cmxsafe/isolation/rules.h"

#include "cmxsafe/isolation/flow_table.h"

bool cmx_iface_owns(const struct cmx_iface *iface, const struct cmx_ip *ip)
{
    return !cmx_ip_is_any(ip) && cmx_ip_in(iface->own, iface->n_own, ip);
}

struct cmx_neighbour *cmx_neighbour_find(struct cmx_neighbour *list, size_t n, uint8_t iface, const struct cmx_ip *ip)
{
    struct cmx_neighbour *end = list + n;

    for (; list < end; list++)
        if (list->state && list->iface == iface && cmx_ip_equal(&list->ip, ip))
            return list;
    return NULL;
}

struct cmx_neighbour *cmx_question_router(const struct cmx_question *q, const struct cmx_ip *ip)
{
    return cmx_neighbour_find(q->iso->routers, CMX_ISO_ROUTERS_MAX, q->iface->index, ip);
}

bool cmx_question_is_resolver(const struct cmx_question *q, const struct cmx_ip *ip)
{
    const struct cmx_iso_config *c = &q->iso->config;

    if (c->n_resolvers)
        return cmx_ip_in(c->resolvers, c->n_resolvers, ip);
    return cmx_ip_in(q->iface->resolvers, q->iface->n_resolvers, ip);
}

static bool is_gateway(const struct cmx_iso_config *c, const struct cmx_ip *ip)
{
    size_t i;

    for (i = 0; i < c->n_gateways; i++)
        if (cmx_ip_equal(&c->gateways[i].ip, ip))
            return true;
    return false;
}

bool cmx_question_is_peer(const struct cmx_question *q, const struct cmx_ip *ip)
{
    const struct cmx_iso_config *c = &q->iso->config;

    if (!cmx_ip_is_host(ip))
        return false;
    return cmx_ip_equal(&q->iface->router4, ip) || cmx_question_router(q, ip) || cmx_question_is_resolver(q, ip) ||
           is_gateway(c, ip) || cmx_ip_in(c->time_servers, c->n_time_servers, ip) ||
           cmx_ip_equal(&q->iso->dhcp_server[q->iface->index], ip) || cmx_flow_has_peer(q->iso, ip, q->now_s);
}

/* RFC 5927: an error is accepted only if it quotes a segment that the session has in flight. */
cmx_reason cmx_rule_icmp_error(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_packet quoted;
    struct cmx_flow *f;

    if (q->dir != CMX_IN || p->l4_have <= 8)
        return CMX_REASON_ICMP;
    if (cmx_packet_parse_quoted(&quoted, p->l4 + 8, p->l4_have - 8, p->version) != CMX_REASON_NONE)
        return CMX_REASON_FORM;
    f = cmx_flow_find(q->iso, &quoted.src, &quoted.dst, q->now_s);
    if (!f || f->kind != CMX_FLOW_SESSION || f->state == CMX_TCP_OPENING || !cmx_ip_equal(&p->dst.ip, &quoted.src.ip))
        return CMX_REASON_NO_FLOW;
    if (f->state != CMX_TCP_PICKUP &&
        (cmx_after(quoted.seq, f->snd_max) || cmx_after(f->snd_max - (1u << 20), quoted.seq)))
        return CMX_REASON_TCP_STATE;
    return CMX_REASON_ICMP_ERROR;
}
