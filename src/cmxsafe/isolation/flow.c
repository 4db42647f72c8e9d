#include "cmxsafe/isolation/flow.h"

#include <string.h>

/* Bytes that a peer may send before the window's left edge (a retransmission), and acknowledge behind the newest: as
 * far back as the largest window without scaling (RFC 9293 section 3.10.7.4 takes old ones for an acknowledgement
 * only). */
#define TCP_BACK 65535u
/* No device has more than this unacknowledged; an older acknowledgement is a guess. */
#define TCP_FLIGHT (1u << 24)

static struct cmx_flow **bucket_of(struct cmx_isolation *iso, uint32_t lport, uint32_t rport)
{
    return &iso->buckets[(lport * 40503u + rport * 9377u) >> 3 & (CMX_ISO_BUCKETS - 1)];
}

static void set_free(struct cmx_isolation *iso, struct cmx_flow *f)
{
    memset(f, 0, sizeof *f);
    f->next = iso->free_flows;
    iso->free_flows = f;
}

void cmx_flow_reset(struct cmx_isolation *iso)
{
    uint32_t i;

    memset(iso->buckets, 0, sizeof iso->buckets);
    iso->free_flows = NULL;
    for (i = 0; i < iso->n_flows; i++)
        set_free(iso, &iso->flows[i]);
}

void cmx_flow_remove(struct cmx_isolation *iso, struct cmx_flow *f)
{
    struct cmx_flow **link = bucket_of(iso, f->lport, f->rport);

    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    set_free(iso, f);
}

/* Frees the flow that has been closing for longest. */
static void reclaim(struct cmx_isolation *iso)
{
    struct cmx_flow *f, *oldest = NULL;

    for (f = iso->flows; f < iso->flows + iso->n_flows; f++)
        if (f->closing && (!oldest || cmx_after(oldest->expires, f->expires)))
            oldest = f;
    if (oldest)
        cmx_flow_remove(iso, oldest);
}

struct cmx_flow *cmx_flow_add(struct cmx_isolation *iso, cmx_flow_kind kind, const struct cmx_ip *local, uint32_t lport,
                              const struct cmx_ip *peer, uint32_t rport, uint32_t now_ms)
{
    struct cmx_flow **bucket = bucket_of(iso, lport, rport);
    struct cmx_flow *f;

    if (!iso->free_flows)
        reclaim(iso);
    f = iso->free_flows;
    if (!f)
        return NULL;
    iso->free_flows = f->next;
    f->local = *local;
    f->peer = *peer;
    f->lport = (uint16_t)lport;
    f->rport = (uint16_t)rport;
    f->kind = (uint8_t)kind;
    f->expires = now_ms;
    f->next = *bucket;
    *bucket = f;
    return f;
}

static bool is_over(const struct cmx_flow *f, uint32_t now_ms)
{
    return f->closing && !cmx_after(f->expires, now_ms);
}

struct cmx_flow *cmx_flow_find(struct cmx_isolation *iso, const struct cmx_ip *local, uint32_t lport,
                               const struct cmx_ip *peer, uint32_t rport, uint32_t now_ms)
{
    struct cmx_flow *f = *bucket_of(iso, lport, rport);

    while (f && (f->lport != lport || f->rport != rport || !cmx_ip_equal(&f->peer, peer) ||
                 (!cmx_ip_equal(&f->local, local) && !cmx_ip_is_any(&f->local))))
        f = f->next;
    if (!f || !is_over(f, now_ms))
        return f;
    cmx_flow_remove(iso, f); /* its end is noticed here */
    return NULL;
}

bool cmx_flow_has_peer(const struct cmx_isolation *iso, const struct cmx_ip *peer, uint32_t now_ms)
{
    uint16_t i;

    for (i = 0; i < iso->n_flows; i++) {
        const struct cmx_flow *f = &iso->flows[i];

        if (f->lport && f->kind == CMX_FLOW_SESSION && cmx_ip_equal(&f->peer, peer) && !is_over(f, now_ms))
            return true;
    }
    return false;
}

/* The window scale option of a SYN (RFC 7323 section 2.2); 0 where there is none. */
static uint8_t window_scale(const struct cmx_packet *p)
{
    uint32_t header = p->l4_len - p->payload, i = 20;

    while (i < header && p->l4[i] != 0) {
        if (p->l4[i] == 1) {
            i++;
            continue;
        }
        if (i + 1 >= header || p->l4[i + 1] < 2 || p->l4[i + 1] > header - i)
            return 0;
        if (p->l4[i] == 3 && p->l4[i + 1] == 3)
            return p->l4[i + 2] > 14 ? 14 : p->l4[i + 2];
        i += p->l4[i + 1];
    }
    return 0;
}

static uint32_t sequence_end(const struct cmx_packet *p)
{
    return p->seq + p->payload + !!(p->tcp_flags & CMX_TCP_SYN) + !!(p->tcp_flags & CMX_TCP_FIN);
}

/* Learns from a segment that we send: how far we sent, what we acknowledged, how much we let the peer send. */
static void learn_out(struct cmx_flow *f, const struct cmx_packet *p)
{
    uint32_t edge = p->ack + ((uint32_t)p->window << f->scale);

    if (!f->tracked) {
        f->snd_max = sequence_end(p);
        f->rcv_ack = p->ack;
        f->rcv_edge = edge;
        f->tracked = true;
        return;
    }
    if (cmx_after(sequence_end(p), f->snd_max))
        f->snd_max = sequence_end(p);
    if (cmx_after(p->ack, f->rcv_ack))
        f->rcv_ack = p->ack;
    if (cmx_after(edge, f->rcv_edge))
        f->rcv_edge = edge;
}

cmx_why cmx_flow_tcp_out(struct cmx_flow *f, const struct cmx_packet *p)
{
    const uint32_t kind = p->tcp_flags & (CMX_TCP_SYN | CMX_TCP_ACK | CMX_TCP_RST | CMX_TCP_FIN);

    if (kind & CMX_TCP_SYN) {
        if (kind != CMX_TCP_SYN || f->closing || f->state == CMX_TCP_UP)
            return CMX_WHY_TCP_STATE;
        f->state = CMX_TCP_SYN_SENT;
        f->scale = window_scale(p);
        f->snd_max = p->seq + 1;
        f->local = p->src;
        return CMX_WHY_SESSION;
    }
    /* Of a connection that was there before the first packet was seen: its numbers are taken as they come. */
    if (f->state == CMX_TCP_PICKUP && (kind & CMX_TCP_ACK)) {
        f->state = CMX_TCP_UP;
        f->scale = 14;
        f->local = p->src;
    }
    if (f->state != CMX_TCP_UP)
        return f->state == CMX_TCP_SYN_SENT && (kind & CMX_TCP_RST) ? CMX_WHY_SESSION : CMX_WHY_TCP_STATE;
    if (kind & CMX_TCP_ACK)
        learn_out(f, p);
    return CMX_WHY_SESSION;
}

/* RFC 9293 section 3.10.7.3: while our SYN is out only its acknowledgement counts. */
static cmx_why in_syn_sent(struct cmx_flow *f, const struct cmx_packet *p)
{
    const uint32_t kind = p->tcp_flags & (CMX_TCP_SYN | CMX_TCP_ACK | CMX_TCP_RST | CMX_TCP_FIN);

    /* A gateway that still holds the connection of a device that restarted answers the SYN with a bare acknowledgement;
     * only our reset ends it there (RFC 9293 section 3.5.1, half-open connections). */
    if (kind == CMX_TCP_ACK && !p->payload)
        return CMX_WHY_SESSION;
    if (p->ack != f->snd_max || !(kind & CMX_TCP_ACK))
        return CMX_WHY_TCP_STATE;
    if (kind == (CMX_TCP_RST | CMX_TCP_ACK))
        return CMX_WHY_SESSION;
    if (kind != (CMX_TCP_SYN | CMX_TCP_ACK))
        return CMX_WHY_TCP_STATE;
    f->state = CMX_TCP_UP;
    f->rcv_ack = f->rcv_edge = p->seq + 1;
    f->rcv_edge += TCP_BACK;
    f->tracked = true;
    return CMX_WHY_SESSION;
}

static bool in_window(const struct cmx_flow *f, const struct cmx_packet *p)
{
    /* A reset must lie in the window; in front of it only what was lost comes again, and keepalives (RFC 9293
     * sections 3.10.7.4 and 3.8.4). */
    const uint32_t back = (p->tcp_flags & CMX_TCP_RST) ? 0 : TCP_BACK << f->scale;

    if (cmx_after(p->seq, f->rcv_edge) || cmx_after(f->rcv_ack - back, sequence_end(p)))
        return false;
    return !cmx_after(p->ack, f->snd_max) && !cmx_after(f->snd_max - TCP_FLIGHT, p->ack);
}

cmx_why cmx_flow_tcp_in(struct cmx_flow *f, const struct cmx_packet *p)
{
    const uint32_t flags = p->tcp_flags;

    switch ((cmx_tcp_state)f->state) {
    case CMX_TCP_SYN_SENT:
        return in_syn_sent(f, p);
    case CMX_TCP_UP:
        /* The SYN+ACK may come again when our acknowledgement got lost. */
        if ((flags & CMX_TCP_SYN) && (!(flags & CMX_TCP_ACK) || p->seq + 1 != f->rcv_ack))
            return CMX_WHY_TCP_STATE;
        if (!f->tracked)
            return CMX_WHY_TCP_STATE;
        if (!(flags & CMX_TCP_ACK)) /* only a bare reset may lack it */
            return (flags & CMX_TCP_RST) && p->seq == f->rcv_ack ? CMX_WHY_SESSION : CMX_WHY_TCP_STATE;
        return in_window(f, p) ? CMX_WHY_SESSION : CMX_WHY_TCP_STATE;
    case CMX_TCP_PICKUP:
        /* The policy was installed after the connection: until we send, only plain data and acknowledgements pass. */
        return (flags & (CMX_TCP_SYN | CMX_TCP_RST | CMX_TCP_FIN | CMX_TCP_ACK)) == CMX_TCP_ACK ? CMX_WHY_SESSION
                                                                                                : CMX_WHY_TCP_STATE;
    case CMX_TCP_OPENING:
        break;
    }
    return CMX_WHY_TCP_STATE;
}
