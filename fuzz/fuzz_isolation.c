/* fuzz_isolation.c - checks frames of any bytes, in both directions and on loopback, against a policy with a live
 * session. Nothing may crash, and each packet that passes as part of the session must be TCP between the session's
 * ports. Each refused frame is formatted for the log. The input is a list of records. The first byte of a record
 * chooses the direction, the interface, the frame's kind, whether the frame is cut, and the time that has passed. Then
 * come two bytes with the length of the frame, and the frame. */
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/device/drops.h"
#include "cmxsafe/isolation/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

static void set_up(struct cmx_isolation *iso, struct cmx_flow *flows, struct cmx_iface *eth)
{
    static const uint8_t us[4] = {10, 0, 0, 5}, gw[4] = {10, 0, 0, 1}, dns[4] = {10, 0, 0, 53};
    static const uint8_t us6[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5};
    struct cmx_iso_config c = {.dhcp4 = true, .dhcp6 = true, .ipv6 = true, .n_resolvers = 1, .n_time_servers = 1};
    struct cmx_end local = {.port = 50000}, peer = {.port = 22};

    c.gateways[c.n_gateways++] = (struct cmx_iso_gateway){.name = "gw.example.org", .port = 22};
    cmx_ip_v4(&c.resolvers[0], dns);
    cmx_ip_v4(&c.time_servers[0], dns);
    if (cmx_isolation_init(iso, &c, flows, 8) != CMX_OK)
        abort();
    memset(eth, 0, sizeof *eth);
    memcpy(eth->mac, mac, 6);
    cmx_ip_v4(&eth->own[0], us);
    cmx_ip_v6(&eth->own[1], us6);
    eth->n_own = 2;
    cmx_ip_v4(&local.ip, us);
    cmx_ip_v4(&peer.ip, gw);
    if (cmx_isolation_socket_open(iso, CMX_FLOW_SESSION, &local, &peer, 0) != CMX_OK)
        abort();
    cmx_isolation_resolving(iso, true);
}

static void log_drop(const struct cmx_iface *iface, bool out, const struct cmx_frame *f, cmx_reason why)
{
    const struct cmx_filter_packet q = {.iface = iface, .out = out};
    struct cmx_drops drops = {0};
    struct cmx_drop drop;

    cmx_drops_note(&drops, &q, f, why, 1);
    if (!cmx_drops_take(&drops, &drop))
        abort();
    cmx_drop_log(&drop);
}

static void one(struct cmx_isolation *iso, const struct cmx_iface *iface, uint8_t how, const uint8_t *d, size_t n,
                uint32_t now)
{
    const struct cmx_frame f = {how & 4 ? CMX_FRAME_IP : CMX_FRAME_ETHERNET, d, how & 8 ? n / 2 : n, n};
    const struct cmx_decision r = cmx_isolation_check(iso, iface, how & 1 ? CMX_OUT : CMX_IN, &f, now);
    struct cmx_packet p;

    if (r.verdict != cmx_reason_verdict(r.why))
        abort();
    if (r.why == CMX_REASON_RELAY || r.why == CMX_REASON_DIRECT || r.why == CMX_REASON_CONTROL)
        abort(); /* only the session has a flow, so no other flow can be the reason */
    if (r.verdict == CMX_DENY)
        log_drop(iface, how & 1, &f, r.why);
    if (r.why != CMX_REASON_SESSION)
        return;
    if (cmx_packet_parse(&p, &f) != CMX_REASON_NONE || p.proto != CMX_IP_TCP)
        abort();
    if ((how & 1 ? p.src.port : p.dst.port) != 50000 || (how & 1 ? p.dst.port : p.src.port) != 22)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmx_isolation iso;
    struct cmx_flow flows[8];
    struct cmx_iface eth, lo = {.class_ = CMX_IFACE_LOOPBACK, .index = 7};
    uint32_t now = 1;

    cmx_log_set_level(CMX_LOG_ERROR);
    set_up(&iso, flows, &eth);
    while (size >= 3) {
        const uint8_t how = data[0];
        size_t n = (size_t)data[1] << 8 | data[2];
        uint8_t *copy;

        data += 3;
        size -= 3;
        n = n < size ? n : size;
        copy = malloc(n + 1); /* separately allocated, so that ASan detects reads beyond the end */
        if (!copy)
            return 0;
        memcpy(copy, data, n);
        one(&iso, how & 2 ? &lo : &eth, how, copy, n, now);
        free(copy);
        data += n;
        size -= n;
        now += (uint32_t)how >> 4;
    }
    return 0;
}
