#include "cmxsafe/device/drops.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/log.h"

bool cmx_drops_may_log(struct cmx_drops *d, uint32_t now_ms)
{
    if (d->lines && now_ms - d->last_line_ms >= CMX_DROPS_LINE_MS) {
        d->lines--;
        d->last_line_ms = now_ms;
    }
    if (d->lines == CMX_DROPS_LINES)
        return false;
    if (!d->lines++)
        d->last_line_ms = now_ms;
    return true;
}

void cmx_drops_note(struct cmx_drops *d, const struct cmx_filter_packet *q, const struct cmx_frame *f, cmx_why why,
                    uint32_t now_ms)
{
    struct cmx_packet p;
    bool whole;

    if (d->n == CMX_DROPS_LINES || !cmx_drops_may_log(d, now_ms)) {
        d->left_out++;
        return;
    }
    whole = cmx_packet_parse(&p, f) == CMX_WHY_NONE; /* if parsing fails, p has the fields before the error */
    d->list[d->n++] = (struct cmx_drop){
        .src = p.src,
        .dst = p.dst,
        .left_out = d->left_out,
        .ethertype = (uint16_t)(p.ethertype      ? p.ethertype
                                : p.version == 6 ? CMX_ETH_IPV6
                                                 : CMX_ETH_IPV4),
        .proto = (uint8_t)p.proto,
        .loopback = q->iface->class_ == CMX_IFACE_LOOPBACK,
        .out = q->out,
        .whole = whole,
        .why = why,
    };
    d->left_out = 0;
}

size_t cmx_drops_take(struct cmx_drops *d, struct cmx_drop out[CMX_DROPS_LINES])
{
    const size_t n = d->n;

    memcpy(out, d->list, n * sizeof out[0]);
    d->n = 0;
    return n;
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
    char from[64], to[64];

    put_end(from, sizeof from, &d->src);
    put_end(to, sizeof to, &d->dst);
    cmx_log(CMX_LOG_WARN, "isolation", "dropped %s: %s: type %04x protocol %u %s > %s%s (%lu more not logged)",
            d->loopback ? "on loopback"
            : d->out    ? "out"
                        : "in",
            cmx_why_name(d->why), d->ethertype, d->proto, from, to, d->whole ? "" : " (partial)",
            (unsigned long)d->left_out);
}
