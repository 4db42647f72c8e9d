#include "cmxsafe/device/drops.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"

bool cmx_drops_may_log(struct cmx_drops *d, uint32_t now_s)
{
    while (d->lines && now_s - d->last_line_s >= CMX_DROPS_LINE_S) {
        d->lines--;
        d->last_line_s += CMX_DROPS_LINE_S;
    }
    if (d->lines == CMX_DROPS_LINES)
        return false;
    if (!d->lines++)
        d->last_line_s = now_s;
    return true;
}

void cmx_drops_note(struct cmx_drops *d, const struct cmx_filter_packet *q, const struct cmx_frame *f, cmx_reason why,
                    uint32_t now_s)
{
    struct cmx_drop *drop = &d->list[d->n];

    if (d->n == CMX_DROPS_LINES || !cmx_drops_may_log(d, now_s)) {
        d->left_out++;
        return;
    }
    /* If parsing fails, packet has only the fields that were parsed before the error. */
    drop->whole = cmx_packet_parse(&drop->packet, f) == CMX_REASON_NONE;
    drop->left_out = d->left_out;
    drop->why = why;
    drop->loopback = q->iface->class_ == CMX_IFACE_LOOPBACK;
    drop->out = q->out;
    d->n++;
    d->left_out = 0;
}

bool cmx_drops_take(struct cmx_drops *d, struct cmx_drop *out)
{
    if (!d->n)
        return false;
    *out = d->list[0];
    d->n--;
    memmove(d->list, d->list + 1, d->n * sizeof d->list[0]);
    return true;
}

static void put_end(char *out, size_t cap, const struct cmx_end *end)
{
    char text[CMX_IP_TEXT_MAX];

    cmx_ip_text(&end->ip, text);
    if (end->port)
        snprintf(out, cap, cmx_ip_is_v4(&end->ip) ? "%s:%u" : "[%s]:%u", text, (unsigned)end->port);
    else
        snprintf(out, cap, "%s", text);
}

void cmx_drop_log(const struct cmx_drop *d)
{
    const struct cmx_packet *p = &d->packet;
    const uint32_t of_version = p->version == 6 ? CMX_ETH_IPV6 : CMX_ETH_IPV4;
    char from[64], to[64];

    put_end(from, sizeof from, &p->src);
    put_end(to, sizeof to, &p->dst);
    cmx_log(CMX_LOG_WARN, "isolation", "dropped %s: %s: type %04lx protocol %lu %s > %s%s (%lu before it not logged)",
            d->loopback ? "on loopback"
            : d->out    ? "out"
                        : "in",
            cmx_reason_denial_name(d->why), (unsigned long)(p->ethertype ? p->ethertype : of_version),
            (unsigned long)p->proto, from, to, d->whole ? "" : " (partial)", (unsigned long)d->left_out);
}
