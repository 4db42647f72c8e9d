/* request.c - UDP: an answer passes only to an outstanding request of ours, from whom it was sent to, with its number.
 * Requests pass only to whom they are configured for, and DNS only for the names that the device needs. */
#include <string.h>

#include "cmxsafe/isolation/flow.h"
#include "cmxsafe/isolation/rules.h"

#define PORT_DHCP_SERVER 67
#define PORT_DHCP_CLIENT 68
#define PORT_DHCP6_CLIENT 546
#define PORT_DHCP6_SERVER 547

#define DHCP_FIXED 240u /* RFC 2131 section 2, with the magic cookie */
#define DHCP_OPTION_TYPE 53
#define DHCP_OPTION_SERVER 54
#define DHCP_DISCOVER 1
#define DHCP_REQUEST 3
#define DHCP6_SOLICIT 1
#define SNTP_LEN 48u
#define DNS_HEADER 12u
#define DNS_TYPE_A 1
#define DNS_TYPE_OPT 41
#define DNS_TYPE_AAAA 28

/* The payload, as far as it is in reach. */
static const uint8_t *payload(const struct cmx_packet *p, uint32_t *have)
{
    *have = p->l4_have - 8u;
    return p->l4 + 8;
}

static struct cmx_request *remember(const struct cmx_question *q, cmx_why kind, uint32_t id)
{
    struct cmx_isolation *iso = q->iso;
    struct cmx_request *r = &iso->requests[0];
    size_t i;

    for (i = 0; i < CMX_ISO_REQUESTS_MAX; i++) {
        struct cmx_request *o = &iso->requests[i];

        if (o->kind == kind && o->id == id && o->lport == q->p->sport && o->iface == q->iface->index) {
            r = o; /* sent again */
            break;
        }
        if (r->kind != CMX_WHY_NONE && (o->kind == CMX_WHY_NONE || cmx_after(r->expires, o->expires)))
            r = o;
    }
    memset(r, 0, sizeof *r);
    r->kind = kind;
    r->peer = q->p->dst;
    r->lport = (uint16_t)q->p->sport;
    r->iface = q->iface->index;
    r->id = id;
    r->expires = q->now_ms + CMX_ISO_REQUEST_MS;
    return r;
}

static struct cmx_request *outstanding(const struct cmx_question *q, cmx_why kind, uint32_t id)
{
    size_t i;

    for (i = 0; i < CMX_ISO_REQUESTS_MAX; i++) {
        struct cmx_request *r = &q->iso->requests[i];

        if (r->kind == kind && r->id == id && r->lport == q->p->dport && r->iface == q->iface->index &&
            cmx_after(r->expires, q->now_ms))
            return r;
    }
    return NULL;
}

/* ---- DHCP, RFC 2131 ---- */

/* The value of an option of that size, or NULL. */
static const uint8_t *dhcp_option(const uint8_t *d, uint32_t have, uint8_t code, uint8_t size)
{
    uint32_t at = DHCP_FIXED;

    while (at < have && d[at] != 255) {
        if (d[at] == 0) {
            at++;
            continue;
        }
        if (at + 2 > have || d[at + 1] > have - at - 2)
            return NULL;
        if (d[at] == code)
            return d[at + 1] == size ? d + at + 2 : NULL;
        at += 2u + d[at + 1];
    }
    return NULL;
}

static bool dhcp_form(const struct cmx_question *q, const uint8_t *d, uint32_t have, uint8_t op)
{
    static const uint8_t magic[4] = {99, 130, 83, 99};

    return have >= DHCP_FIXED && d[0] == op && d[1] == 1 && d[2] == 6 && memcmp(d + 28, q->iface->mac, 6) == 0 &&
           memcmp(d + 236, magic, sizeof magic) == 0;
}

static cmx_why dhcp_out(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    struct cmx_ip *server = &q->iso->dhcp_server[q->iface->index];
    uint32_t have;
    const uint8_t *d = payload(p, &have);
    const uint8_t *type, *chosen;

    if (!dhcp_form(q, d, have, 1))
        return CMX_WHY_FORM;
    type = dhcp_option(d, have, DHCP_OPTION_TYPE, 1);
    if (!type)
        return CMX_WHY_FORM;
    if (*type == DHCP_DISCOVER)
        memset(server, 0, sizeof *server);
    chosen = dhcp_option(d, have, DHCP_OPTION_SERVER, 4);
    if (*type == DHCP_REQUEST && chosen)
        cmx_ip4(server, chosen);
    if (!cmx_ip_is_multicast(&p->dst) && !cmx_ip_equal(&p->dst, server))
        return CMX_WHY_WRONG_SERVER;
    remember(q, CMX_WHY_DHCP, cmx_get32(d + 4));
    return CMX_WHY_DHCP;
}

static cmx_why dhcp_in(const struct cmx_question *q)
{
    const struct cmx_ip *server = &q->iso->dhcp_server[q->iface->index];
    uint32_t have;
    const uint8_t *d = payload(q->p, &have);
    const uint8_t *id;
    struct cmx_ip from;

    if (!dhcp_form(q, d, have, 2))
        return CMX_WHY_FORM;
    if (!outstanding(q, CMX_WHY_DHCP, cmx_get32(d + 4)))
        return CMX_WHY_UNASKED;
    id = dhcp_option(d, have, DHCP_OPTION_SERVER, 4);
    if (!id)
        return CMX_WHY_FORM;
    cmx_ip4(&from, id);
    return cmx_ip_is_any(server) || cmx_ip_equal(server, &from) ? CMX_WHY_DHCP : CMX_WHY_WRONG_SERVER;
}

/* ---- DHCPv6, RFC 8415 ---- */

static cmx_why dhcp6_out(const struct cmx_question *q)
{
    static const uint8_t servers[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2};
    uint32_t have;
    const uint8_t *d = payload(q->p, &have);

    if (have < 4 || memcmp(q->p->dst.w, servers, 16) != 0)
        return CMX_WHY_FORM;
    if (d[0] == DHCP6_SOLICIT)
        memset(&q->iso->dhcp6_server[q->iface->index], 0, sizeof q->iso->dhcp6_server[0]);
    remember(q, CMX_WHY_DHCP6, cmx_get32(d) & 0xffffff);
    return CMX_WHY_DHCP6;
}

static cmx_why dhcp6_in(const struct cmx_question *q)
{
    struct cmx_ip *server = &q->iso->dhcp6_server[q->iface->index];
    uint32_t have;
    const uint8_t *d = payload(q->p, &have);

    if (have < 4 || !cmx_ip_is_link_local6(&q->p->src))
        return CMX_WHY_FORM;
    if (!outstanding(q, CMX_WHY_DHCP6, cmx_get32(d) & 0xffffff))
        return CMX_WHY_UNASKED;
    if (cmx_ip_is_any(server))
        *server = q->p->src;
    return cmx_ip_equal(server, &q->p->src) ? CMX_WHY_DHCP6 : CMX_WHY_WRONG_SERVER;
}

/* ---- DNS, RFC 1035 ---- */

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* Is the name at d (labels, section 3.1) the text `name`, whatever the case? *used: its bytes with the final zero. */
static bool name_equals(const uint8_t *d, uint32_t len, const char *name, uint32_t *used)
{
    uint32_t at = 0, t = 0;

    while (at < len && d[at] != 0) {
        uint32_t n = d[at++], i;

        if (n > 63 || n > len - at || (t && name[t++] != '.'))
            return false;
        for (i = 0; i < n; i++, t++)
            if (!name[t] || lower(d[at + i]) != lower((uint8_t)name[t]))
                return false;
        at += n;
    }
    *used = at + 1;
    return at < len && t && (!name[t] || (name[t] == '.' && !name[t + 1]));
}

/* Nothing may follow the question but an empty OPT record (RFC 6891): a query must not carry data out. */
static bool query_ends(const uint8_t *d, uint32_t len, uint32_t additional)
{
    if (!additional)
        return len == 0;
    return additional == 1 && len == 11 && d[0] == 0 && cmx_get16(d + 1) == DNS_TYPE_OPT && cmx_get16(d + 9) == 0;
}

static bool may_look_up(const struct cmx_question *q, const uint8_t *d, uint32_t len, uint32_t additional)
{
    size_t i;

    for (i = 0; i < CMX_ISO_NAMES_MAX; i++) {
        const char *name = q->iso->config.names[i];
        uint32_t used;
        uint32_t type;

        if (!name || (i == 0 && !q->iso->resolving) || !name_equals(d, len, name, &used) || len - used < 4)
            continue;
        type = cmx_get16(d + used);
        return (type == DNS_TYPE_A || type == DNS_TYPE_AAAA) && cmx_get16(d + used + 2) == 1 &&
               query_ends(d + used + 4, len - used - 4, additional);
    }
    return false;
}

static cmx_why dns_out(const struct cmx_question *q)
{
    uint32_t have;
    const uint8_t *d = payload(q->p, &have);

    if (!cmx_is_resolver(q, &q->p->dst))
        return CMX_WHY_NOT_PEER;
    /* A standard query with one question; of the flags only recursion desired, authentic data and checking disabled. */
    if (have < DNS_HEADER || have != q->p->payload || (cmx_get16(d + 2) & ~0x0130u) || cmx_get16(d + 4) != 1 ||
        cmx_get16(d + 6) || cmx_get16(d + 8))
        return CMX_WHY_FORM;
    if (!may_look_up(q, d + DNS_HEADER, have - DNS_HEADER, cmx_get16(d + 10)))
        return CMX_WHY_NAME;
    remember(q, CMX_WHY_DNS, cmx_get16(d));
    return CMX_WHY_DNS;
}

static cmx_why dns_in(const struct cmx_question *q)
{
    uint32_t have;
    const uint8_t *d = payload(q->p, &have);
    struct cmx_request *r;

    if (have < DNS_HEADER || !(d[2] & 0x80))
        return CMX_WHY_FORM;
    r = outstanding(q, CMX_WHY_DNS, cmx_get16(d));
    if (!r || !cmx_ip_equal(&r->peer, &q->p->src))
        return CMX_WHY_UNASKED;
    r->kind = CMX_WHY_NONE;
    return CMX_WHY_DNS;
}

/* ---- SNTP, RFC 4330 ---- */

static cmx_why sntp_out(const struct cmx_question *q)
{
    uint32_t have;
    const uint8_t *d = payload(q->p, &have);

    if (!cmx_ip_in(q->iso->config.time_servers, q->iso->config.n_time_servers, &q->p->dst))
        return CMX_WHY_NOT_PEER;
    if (have != SNTP_LEN || q->p->payload != SNTP_LEN || (d[0] & 7) != 3)
        return CMX_WHY_FORM;
    remember(q, CMX_WHY_SNTP, cmx_get32(d + 44));
    return CMX_WHY_SNTP;
}

static cmx_why sntp_in(const struct cmx_question *q)
{
    uint32_t have;
    const uint8_t *d = payload(q->p, &have);
    struct cmx_request *r;

    if (have < SNTP_LEN || (d[0] & 7) != 4)
        return CMX_WHY_FORM;
    r = outstanding(q, CMX_WHY_SNTP, cmx_get32(d + 28)); /* the server sends our transmit timestamp back as originate */
    if (!r || !cmx_ip_equal(&r->peer, &q->p->src))
        return CMX_WHY_UNASKED;
    r->kind = CMX_WHY_NONE;
    return CMX_WHY_SNTP;
}

cmx_why cmx_rule_udp(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;
    const bool out = q->dir == CMX_OUT, v4 = p->ethertype == CMX_ETH_IPV4;
    const uint32_t ours = out ? p->sport : p->dport, theirs = out ? p->dport : p->sport;

    if (p->extended || p->router_alert)
        return CMX_WHY_IP_OPTION;
    if (v4 && q->iso->config.dhcp4 && ours == PORT_DHCP_CLIENT && theirs == PORT_DHCP_SERVER)
        return out ? dhcp_out(q) : dhcp_in(q);
    if (!v4 && q->iso->config.dhcp6 && q->iso->config.ipv6 && ours == PORT_DHCP6_CLIENT && theirs == PORT_DHCP6_SERVER)
        return out ? dhcp6_out(q) : dhcp6_in(q);
    if (!v4 && !q->iso->config.ipv6)
        return CMX_WHY_NONE;
    if (theirs == CMX_ISO_PORT_DNS)
        return out ? dns_out(q) : dns_in(q);
    if (theirs == CMX_ISO_PORT_SNTP)
        return out ? sntp_out(q) : sntp_in(q);
    return out ? CMX_WHY_NOT_PEER : CMX_WHY_UNASKED;
}
