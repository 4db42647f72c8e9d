#include "cmxsafe/isolation/flow_table.h"

#include <string.h>

/* The largest window without scaling, in bytes. An old segment also passes, unless it is a reset: its end may lie at
 * most TCP_BACK << scale bytes before the left edge of the window. The peer repeats such segments until our
 * acknowledgement arrives. TCP discards their data, and acknowledges again (RFC 9293 section 3.10.7.4). */
#define TCP_BACK 65535u
/* A device never has more unacknowledged bytes than this. A segment that acknowledges a byte further back comes from an
 * attacker who guesses numbers. */
#define TCP_FLIGHT (1u << 24)

/* The stack chooses one of the two ports, usually counting upwards, so their sum spreads evenly over the buckets. */
static struct cmx_flow **bucket_of(struct cmx_isolation *iso, const struct cmx_end *local, const struct cmx_end *peer)
{
    return &iso->buckets[(local->port + peer->port) & (CMX_ISO_BUCKETS - 1)];
}

static void flow_remove(struct cmx_isolation *iso, struct cmx_flow *f)
{
    struct cmx_flow **link = bucket_of(iso, &f->local, &f->peer);

    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    f->local.port = 0;
}

/* Returns a free entry. If all are in use, removes the flow that has been closing for longest, and returns its entry.
 * NULL: all are in use, and no flow is closing. */
static struct cmx_flow *place(struct cmx_isolation *iso)
{
    struct cmx_flow *f, *oldest = NULL;

    for (f = iso->flows; f < iso->flows + iso->n_flows; f++) {
        if (!f->local.port)
            return f;
        if (f->closing && (!oldest || cmx_after(oldest->expires, f->expires)))
            oldest = f;
    }
    if (oldest)
        flow_remove(iso, oldest);
    return oldest;
}

bool cmx_flow_add(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_end *local,
                  const struct cmx_end *peer, uint32_t now_s)
{
    struct cmx_flow **bucket, *f = cmx_flow_find(iso, local, peer, now_s);

    if (f) /* the port was reused before the old flow expired */
        flow_remove(iso, f);
    else
        f = place(iso);
    if (!f)
        return false;
    memset(f, 0, sizeof *f);
    f->local = *local;
    f->peer = *peer;
    f->kind = (uint8_t)kind;
    bucket = bucket_of(iso, local, peer);
    f->next = *bucket;
    *bucket = f;
    return true;
}

static bool is_over(const struct cmx_flow *f, uint32_t now_s)
{
    return f->closing && !cmx_after(f->expires, now_s);
}

static bool is_between(const struct cmx_flow *f, const struct cmx_end *local, const struct cmx_end *peer)
{
    return f->local.port == local->port && f->peer.port == peer->port && cmx_ip_equal(&f->peer.ip, &peer->ip) &&
           (cmx_ip_equal(&f->local.ip, &local->ip) || cmx_ip_is_any(&f->local.ip) || cmx_ip_is_any(&local->ip));
}

struct cmx_flow *cmx_flow_find(struct cmx_isolation *iso, const struct cmx_end *local, const struct cmx_end *peer,
                               uint32_t now_s)
{
    struct cmx_flow *f = *bucket_of(iso, local, peer);

    while (f && !is_between(f, local, peer))
        f = f->next;
    if (!f || !is_over(f, now_s))
        return f;
    flow_remove(iso, f); /* the flow has expired */
    return NULL;
}

bool cmx_flow_has_peer(const struct cmx_isolation *iso, const struct cmx_ip *peer, uint32_t now_s)
{
    const struct cmx_flow *f;

    for (f = iso->flows; f < iso->flows + iso->n_flows; f++)
        if (f->local.port && f->kind == CMX_FLOW_SESSION && cmx_ip_equal(&f->peer.ip, peer) && !is_over(f, now_s))
            return true;
    return false;
}

/* Returns the window scale option of a SYN (RFC 7323 section 2.2), or 0. */
static uint8_t window_scale(const struct cmx_packet *p)
{
    struct cmx_options o = {.at = p->l4 + 20, .left = p->l4_len - p->payload - 20, .pad = 1, .end = 0};
    const uint8_t *option;

    while ((option = cmx_options_next(&o)) != NULL)
        if (option[0] == 3 && option[1] == 3)
            return option[2] > 14 ? 14 : option[2];
    return 0;
}

static uint32_t sequence_end(const struct cmx_packet *p)
{
    return p->seq + p->payload + !!(p->tcp_flags & CMX_TCP_SYN) + !!(p->tcp_flags & CMX_TCP_FIN);
}

static void advance(uint32_t *to, uint32_t value)
{
    if (cmx_after(value, *to))
        *to = value;
}

cmx_reason cmx_flow_tcp_out(struct cmx_flow *f, const struct cmx_packet *p)
{
    const uint32_t kind = p->tcp_flags;

    f->local.ip = p->src.ip; /* our address is not known before our first segment */
    if (kind & CMX_TCP_SYN) {
        if (kind != CMX_TCP_SYN || f->closing || f->state == CMX_TCP_UP)
            return CMX_REASON_TCP_STATE;
        f->state = CMX_TCP_SYN_SENT;
        f->scale = window_scale(p);
        f->snd_max = p->seq + 1;
        return CMX_REASON_SESSION;
    }
    /* The connection is older than the policy: accept the sequence numbers of the device's next segment. */
    if (f->state == CMX_TCP_PICKUP && (kind & CMX_TCP_ACK)) {
        f->state = CMX_TCP_UP;
        f->scale = 14;
        f->snd_max = p->seq;
        f->rcv_ack = f->rcv_edge = p->ack;
    }
    if (f->state != CMX_TCP_UP)
        return f->state == CMX_TCP_SYN_SENT && (kind & CMX_TCP_RST) ? CMX_REASON_SESSION : CMX_REASON_TCP_STATE;
    if (kind & CMX_TCP_ACK) { /* track our sequence numbers, our acknowledgements and the window that we advertised */
        advance(&f->snd_max, sequence_end(p));
        advance(&f->rcv_ack, p->ack);
        advance(&f->rcv_edge, p->ack + (p->window << f->scale));
    }
    return CMX_REASON_SESSION;
}

/* RFC 9293 section 3.10.7.3: SYN+ACK and RST+ACK are accepted only if they acknowledge our SYN. A bare acknowledgement
 * is accepted with any number. */
static cmx_reason in_syn_sent(struct cmx_flow *f, const struct cmx_packet *p)
{
    const uint32_t kind = p->tcp_flags;

    /* After a restart of the device the gateway may still hold the old connection. It then answers the SYN with a bare
     * acknowledgement, and only our reset ends that connection (RFC 9293 section 3.5.1, half-open connections). */
    if (kind == CMX_TCP_ACK && !p->payload)
        return CMX_REASON_SESSION;
    if (p->ack != f->snd_max || !(kind & CMX_TCP_ACK))
        return CMX_REASON_TCP_STATE;
    if (kind == (CMX_TCP_RST | CMX_TCP_ACK))
        return CMX_REASON_SESSION;
    if (kind != (CMX_TCP_SYN | CMX_TCP_ACK))
        return CMX_REASON_TCP_STATE;
    f->state = CMX_TCP_UP;
    f->rcv_ack = f->rcv_edge = p->seq + 1;
    f->rcv_edge += TCP_BACK;
    return CMX_REASON_SESSION;
}

static bool in_window(const struct cmx_flow *f, const struct cmx_packet *p)
{
    /* A reset must lie in the window. Other segments (retransmissions, keepalives) may begin before the window (RFC
     * 9293 sections 3.10.7.4 and 3.8.4). */
    const uint32_t back = (p->tcp_flags & CMX_TCP_RST) ? 0 : TCP_BACK << f->scale;

    if (cmx_after(p->seq, f->rcv_edge) || cmx_after(f->rcv_ack - back, sequence_end(p)))
        return false;
    return !cmx_after(p->ack, f->snd_max) && !cmx_after(f->snd_max - TCP_FLIGHT, p->ack);
}

cmx_reason cmx_flow_tcp_in(struct cmx_flow *f, const struct cmx_packet *p)
{
    const uint32_t flags = p->tcp_flags;

    switch ((cmx_tcp_state)f->state) {
    case CMX_TCP_SYN_SENT:
        return in_syn_sent(f, p);
    case CMX_TCP_UP:
        /* The gateway repeats the SYN+ACK if our acknowledgement was lost. */
        if ((flags & CMX_TCP_SYN) && (!(flags & CMX_TCP_ACK) || p->seq + 1 != f->rcv_ack))
            return CMX_REASON_TCP_STATE;
        if (!(flags & CMX_TCP_ACK)) /* only a reset may lack ACK */
            return (flags & CMX_TCP_RST) && p->seq == f->rcv_ack ? CMX_REASON_SESSION : CMX_REASON_TCP_STATE;
        return in_window(f, p) ? CMX_REASON_SESSION : CMX_REASON_TCP_STATE;
    case CMX_TCP_PICKUP:
        /* The policy was installed after the connection was opened, or between our SYN and its answer. Until the device
         * sends, only a SYN+ACK, plain data and acknowledgements pass. */
        return (flags & ~(uint32_t)CMX_TCP_SYN) == CMX_TCP_ACK ? CMX_REASON_SESSION : CMX_REASON_TCP_STATE;
    case CMX_TCP_OPENING:
        break;
    }
    return CMX_REASON_TCP_STATE;
}
