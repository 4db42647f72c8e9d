#include "cmxsafe/device/drops.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "cmxsafe/core/log.h"

bool cmx_drops_may_tell(struct cmx_drops *d, uint32_t now_ms)
{
    if (d->lines && now_ms - d->last_line_ms >= CMX_DEVICE_DROP_LINE_MS) {
        d->lines--;
        d->last_line_ms = now_ms;
    }
    if (d->lines == CMX_DEVICE_DROP_LINES)
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

    if (d->n == CMX_DEVICE_DROP_LINES || !cmx_drops_may_tell(d, now_ms)) {
        d->silent++;
        return;
    }
    whole = cmx_packet_parse(&p, f) == CMX_WHY_NONE; /* what it says as far as it can be read */
    d->list[d->n++] = (struct cmx_drop){
        .src = p.src,
        .dst = p.dst,
        .silent = d->silent,
        .ethertype = (uint16_t)(p.ethertype      ? p.ethertype
                                : p.version == 6 ? CMX_ETH_IPV6
                                                 : CMX_ETH_IPV4),
        .proto = (uint8_t)p.proto,
        .loopback = q->loopback,
        .out = q->out,
        .whole = whole,
        .why = why,
    };
    d->silent = 0;
}

size_t cmx_drops_take(struct cmx_drops *d, struct cmx_drop out[CMX_DEVICE_DROP_LINES])
{
    const size_t n = d->n;

    memcpy(out, d->list, n * sizeof out[0]);
    d->n = 0;
    return n;
}

static void put_end(char *out, size_t cap, const struct cmx_end *end)
{
    char text[INET6_ADDRSTRLEN] = "?";
    size_t len;
    const uint8_t *bytes = cmx_ip_bytes(&end->ip, &len);

    if (!inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text))
        text[0] = '?';
    if (end->port)
        snprintf(out, cap, len == 4 ? "%s:%u" : "[%s]:%u", text, (unsigned)end->port);
    else
        snprintf(out, cap, "%s", text);
}

void cmx_drop_log(const struct cmx_drop *d)
{
    char from[64], to[64];

    put_end(from, sizeof from, &d->src);
    put_end(to, sizeof to, &d->dst);
    cmx_module_log(CMX_LOG_WARN | CMX_LOG_ISOLATION,
                   "dropped %s: %s: type %04x protocol %u %s > %s%s (%lu more unsaid)",
                   d->loopback ? "on loopback"
                   : d->out    ? "out"
                               : "in",
                   cmx_why_name(d->why), d->ethertype, d->proto, from, to, d->whole ? "" : " (not whole)",
                   (unsigned long)d->silent);
}
