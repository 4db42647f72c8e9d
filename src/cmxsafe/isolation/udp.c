#include "cmxsafe/isolation/udp.h"

#include <string.h>

#include "cmxsafe/isolation/link.h"

#define PORT_DHCP_SERVER 67
#define PORT_DHCP_CLIENT 68
#define PORT_DHCP6_CLIENT 546
#define PORT_DHCP6_SERVER 547

#define DHCP_FIXED 240u /* length of the fixed fields (RFC 2131 section 2) and the magic cookie */
#define DHCP_MAGIC 0x63825363u
#define DHCP_ETHERNET 0x0106u /* the bytes htype and hlen */
#define DHCP_OPTION_TYPE 53
#define DHCP_OPTION_SERVER 54
#define DHCP_DISCOVER 1
#define DHCP_REQUEST 3
#define DHCP6_SOLICIT 1
#define SNTP_LEN 48u
#define DNS_HEADER 12u
#define DNS_A_IN 0x00010001u /* type and class, which follow the name */
#define DNS_AAAA_IN 0x001c0001u
#define DNS_TYPE_OPT 41
#define DNS_OPT_LEN 11u

/* One protocol: its checks for requests and answers, and the offsets of the number (id) that an answer repeats. */
struct protocol {
    cmx_reason (*out)(const struct cmx_question *q); /* judges a request */
    cmx_reason (*in)(const struct cmx_question *q);  /* judges an answer to an outstanding request */
    uint32_t id_mask; /* selects the bits of the number in the words at id_out and id_in */
    uint8_t passes;   /* the cmx_reason of a message that passes */
    uint8_t least;    /* minimum length of a message, in bytes */
    uint8_t id_out, id_in;
    bool once; /* only one answer passes, and only from the request's destination */
};

/* `payload` returns the UDP payload. `in_reach` returns how many of its bytes are contiguous. */
static const uint8_t *payload(const struct cmx_packet *p)
{
    return p->l4 + 8;
}

static uint32_t in_reach(const struct cmx_packet *p)
{
    return p->l4_have - 8;
}

/* Returns the request that has the number id and was sent from lport, or NULL. */
static struct cmx_request *find(const struct cmx_question *q, const struct protocol *s, uint32_t id, uint32_t lport)
{
    struct cmx_request *r = q->iso->requests;

    for (; r < q->iso->requests + CMX_ISO_REQUESTS_MAX; r++)
        if (r->kind == s->passes && r->id == id && r->lport == lport && r->iface == q->iface->index)
            return r;
    return NULL;
}

/* Returns a free entry or, if all are in use, the entry of the oldest request. */
static struct cmx_request *place(struct cmx_isolation *iso)
{
    struct cmx_request *r = iso->requests, *o;

    for (o = r + 1; o < iso->requests + CMX_ISO_REQUESTS_MAX && r->kind; o++)
        if (!o->kind || cmx_after(r->expires, o->expires))
            r = o;
    return r;
}

static void remember(const struct cmx_question *q, const struct protocol *s, uint32_t id)
{
    struct cmx_request *r = find(q, s, id, q->p->src.port);

    if (!r) /* a repeated request keeps its entry */
        r = place(q->iso);
    r->kind = s->passes;
    r->peer = q->p->dst;
    r->lport = (uint16_t)q->p->src.port;
    r->iface = q->iface->index;
    r->id = id;
    r->expires = q->now_s + CMX_ISO_REQUEST_S;
}

static struct cmx_request *outstanding(const struct cmx_question *q, const struct protocol *s, uint32_t id)
{
    struct cmx_request *r = find(q, s, id, q->p->dst.port);

    return r && cmx_after(r->expires, q->now_s) && (!s->once || cmx_ip_equal(&r->peer.ip, &q->p->src.ip)) ? r : NULL;
}

/* ---- DHCP, RFC 2131 ---- */

/* Returns the value of the option `code` if the value has `size` bytes, otherwise NULL. */
static const uint8_t *dhcp_option(const struct cmx_packet *p, uint8_t code, uint8_t size)
{
    struct cmx_options o = {
        .at = payload(p) + DHCP_FIXED, .left = in_reach(p) - DHCP_FIXED, .pad = 0, .end = 255, .header = 2};
    const uint8_t *option;

    while ((option = cmx_options_next(&o)) != NULL)
        if (option[0] == code)
            return option[1] == size ? option + 2 : NULL;
    return NULL;
}

static bool dhcp_form(const struct cmx_question *q, uint32_t op)
{
    const uint8_t *d = payload(q->p);

    return cmx_packet_u32(d) >> 8 == (op << 16 | DHCP_ETHERNET) && cmx_packet_u32(d + 236) == DHCP_MAGIC &&
           cmx_packet_mac_equal(d + 28, q->iface->mac);
}

static cmx_reason dhcp_out(const struct cmx_question *q)
{
    struct cmx_ip *server = &q->iso->dhcp_server[q->iface->index];
    const uint8_t *type, *chosen;

    type = dhcp_option(q->p, DHCP_OPTION_TYPE, 1);
    if (!dhcp_form(q, 1) || !type)
        return CMX_REASON_FORM;
    if (*type == DHCP_DISCOVER)
        memset(server, 0, sizeof *server);
    chosen = dhcp_option(q->p, DHCP_OPTION_SERVER, 4);
    if (*type == DHCP_REQUEST && chosen)
        cmx_ip_v4(server, chosen);
    return cmx_ip_is_multicast(&q->p->dst.ip) || cmx_ip_equal(&q->p->dst.ip, server) ? CMX_REASON_DHCP
                                                                                     : CMX_REASON_WRONG_SERVER;
}

static cmx_reason dhcp_in(const struct cmx_question *q)
{
    const struct cmx_ip *server = &q->iso->dhcp_server[q->iface->index];
    const uint8_t *id = dhcp_option(q->p, DHCP_OPTION_SERVER, 4);
    struct cmx_ip from;

    if (!dhcp_form(q, 2) || !id)
        return CMX_REASON_FORM;
    cmx_ip_v4(&from, id);
    return cmx_ip_is_any(server) || cmx_ip_equal(server, &from) ? CMX_REASON_DHCP : CMX_REASON_WRONG_SERVER;
}

/* ---- DHCPv6, RFC 8415 ---- */

static cmx_reason dhcp6_out(const struct cmx_question *q)
{
    if (!cmx_ip_equal(&q->p->dst.ip, &cmx_link_dhcp6_servers.ip))
        return CMX_REASON_FORM;
    /* The server resolves our address before it answers. This call lets the server's solicitation pass. */
    cmx_link_ask(q, &q->p->dst.ip);
    if (payload(q->p)[0] == DHCP6_SOLICIT)
        memset(&q->iso->dhcp6_server[q->iface->index], 0, sizeof q->iso->dhcp6_server[0]);
    return CMX_REASON_DHCP6;
}

static cmx_reason dhcp6_in(const struct cmx_question *q)
{
    const struct cmx_ip *from = &q->p->src.ip;
    struct cmx_ip *server = &q->iso->dhcp6_server[q->iface->index];

    if (!cmx_ip_is_link_local6(from))
        return CMX_REASON_FORM;
    if (cmx_ip_is_any(server))
        *server = *from;
    return cmx_ip_equal(server, from) ? CMX_REASON_DHCP6 : CMX_REASON_WRONG_SERVER;
}

/* ---- DNS, RFC 1035 ---- */

static uint32_t lower(uint32_t c)
{
    return c - 'A' < 26 ? c + 32 : c;
}

/* True if the name at d (labels, section 3.1) is the text `name`, ignoring case. *used: the length of the name at d,
 * its final zero included. */
static bool name_equals(const uint8_t *d, uint32_t len, const char *name, uint32_t *used)
{
    uint32_t at, label = 0; /* remaining bytes of the label */

    for (at = 0; at < len; at++) {
        if (label) {
            if (!*name || lower(d[at]) != lower((uint8_t)*name++))
                return false;
            label--;
            continue;
        }
        label = d[at];
        if (!label)
            break;
        if (label > 63 || (at && *name++ != '.'))
            return false;
    }
    *used = at + 1;
    return at && at < len && (!*name || (*name == '.' && !name[1]));
}

/* Only an empty OPT record (RFC 6891) may follow the question, so that a query cannot carry data out. */
static bool query_ends(const uint8_t *d, uint32_t len, uint32_t additional)
{
    if (len != (additional ? DNS_OPT_LEN : 0))
        return false;
    return !additional ||
           (cmx_packet_u32(d) >> 8 == DNS_TYPE_OPT && !cmx_packet_u16(d + 9)); /* the name is the root; no data */
}

/* True if the question begins with a name that may be looked up now. *used: the name's length. */
static bool is_known_name(const struct cmx_question *q, const uint8_t *d, uint32_t len, uint32_t *used)
{
    const struct cmx_iso_config *c = &q->iso->config;
    size_t i;

    for (i = 0; i < CMX_ISO_TIME_NAMES_MAX; i++)
        if (c->time_names[i] && name_equals(d, len, c->time_names[i], used))
            return true;
    for (i = 0; q->iso->resolving && i < c->n_gateways; i++)
        if (c->gateways[i].name && name_equals(d, len, c->gateways[i].name, used))
            return true;
    return false;
}

static bool may_look_up(const struct cmx_question *q, const uint8_t *d, uint32_t len, uint32_t additional)
{
    uint32_t used, what;

    if (!is_known_name(q, d, len, &used) || len - used < 4)
        return false;
    what = cmx_packet_u32(d + used);
    return (what == DNS_A_IN || what == DNS_AAAA_IN) && query_ends(d + used + 4, len - used - 4, additional);
}

static cmx_reason dns_out(const struct cmx_question *q)
{
    const uint8_t *d = payload(q->p);
    const uint32_t have = in_reach(q->p);

    if (!cmx_question_is_resolver(q, &q->p->dst.ip))
        return CMX_REASON_NOT_PEER;
    /* Only a standard query with one question passes. It may set the flags recursion desired, authentic data and
     * checking disabled. */
    if (have != q->p->payload || (cmx_packet_u32(d + 2) & ~0x01300000u) != 1 || cmx_packet_u32(d + 6))
        return CMX_REASON_FORM;
    return may_look_up(q, d + DNS_HEADER, have - DNS_HEADER, cmx_packet_u16(d + 10)) ? CMX_REASON_DNS : CMX_REASON_NAME;
}

static cmx_reason dns_in(const struct cmx_question *q)
{
    return payload(q->p)[2] & 0x80 ? CMX_REASON_DNS : CMX_REASON_FORM;
}

/* ---- SNTP, RFC 4330 ---- */

static cmx_reason sntp_out(const struct cmx_question *q)
{
    const struct cmx_packet *p = q->p;

    if (!cmx_ip_in(q->iso->config.time_servers, q->iso->config.n_time_servers, &p->dst.ip))
        return CMX_REASON_NOT_PEER;
    return p->payload == SNTP_LEN && (payload(p)[0] & 7) == 3 ? CMX_REASON_SNTP : CMX_REASON_FORM;
}

static cmx_reason sntp_in(const struct cmx_question *q)
{
    return (payload(q->p)[0] & 7) == 4 ? CMX_REASON_SNTP : CMX_REASON_FORM;
}

/* ---- the table of protocols ---- */

/* id_mask: in a DNS message, the word that contains the number ends with the flags; in a DHCPv6 message, it begins with
 * the message type. id_out, id_in: an SNTP server returns our transmit timestamp as its originate timestamp. */
static const struct protocol dhcp = {dhcp_out, dhcp_in, 0xffffffff, CMX_REASON_DHCP, DHCP_FIXED, 4, 4, false};
static const struct protocol dhcp6 = {dhcp6_out, dhcp6_in, 0x00ffffff, CMX_REASON_DHCP6, 4, 0, 0, false};
static const struct protocol dns = {dns_out, dns_in, 0xffff0000, CMX_REASON_DNS, DNS_HEADER, 0, 0, true};
static const struct protocol sntp = {sntp_out, sntp_in, 0xffffffff, CMX_REASON_SNTP, SNTP_LEN, 44, 28, true};

static const struct protocol *protocol_of(const struct cmx_iso_config *c, bool v4, uint32_t ours, uint32_t theirs)
{
    if (v4 && c->dhcp4 && ours == PORT_DHCP_CLIENT && theirs == PORT_DHCP_SERVER)
        return &dhcp;
    if (!v4 && c->dhcp6 && ours == PORT_DHCP6_CLIENT && theirs == PORT_DHCP6_SERVER)
        return &dhcp6;
    if (theirs == CMX_ISO_PORT_DNS)
        return &dns;
    return theirs == CMX_ISO_PORT_SNTP ? &sntp : NULL;
}

static cmx_reason request(const struct cmx_question *q, const struct protocol *s)
{
    cmx_reason why = s->out(q);

    if (why == s->passes)
        remember(q, s, cmx_packet_u32(payload(q->p) + s->id_out) & s->id_mask);
    return why;
}

static cmx_reason answer(const struct cmx_question *q, const struct protocol *s)
{
    struct cmx_request *r = outstanding(q, s, cmx_packet_u32(payload(q->p) + s->id_in) & s->id_mask);
    cmx_reason why = r ? s->in(q) : CMX_REASON_UNASKED;

    if (why == s->passes && s->once)
        r->kind = CMX_REASON_NONE;
    return why;
}

cmx_reason cmx_udp_judge(const struct cmx_question *q)
{
    const struct cmx_iso_config *c = &q->iso->config;
    const struct cmx_packet *p = q->p;
    const bool out = q->dir == CMX_OUT, v4 = p->version == 4;
    const struct protocol *s;

    if (!v4 && !c->ipv6)
        return CMX_REASON_NONE;
    s = out ? protocol_of(c, v4, p->src.port, p->dst.port) : protocol_of(c, v4, p->dst.port, p->src.port);
    if (!s)
        return out ? CMX_REASON_NOT_PEER : CMX_REASON_UNASKED;
    if (in_reach(p) < s->least)
        return CMX_REASON_FORM;
    return out ? request(q, s) : answer(q, s);
}
