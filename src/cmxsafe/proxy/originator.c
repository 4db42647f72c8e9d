#include "cmxsafe/proxy/originator.h"

#include <string.h>

#include "cmxsafe/proxy/proxy_v2.h"

#define V1_UNKNOWN "PROXY UNKNOWN\r\n"

void cmx_originator_read(struct cmx_originator *o, const char *text, uint32_t port)
{
    *o = (struct cmx_originator){.port = port};
    o->known = port <= UINT16_MAX && cmx_ip_parse(&o->ip, text) && cmx_ip_is_host(&o->ip);
}

bool cmx_originator_is_identity(const struct cmx_originator *o)
{
    return o->known && !cmx_ip_is_v4(&o->ip) && !cmx_ip_is_loopback(&o->ip) && !cmx_ip_is_link_local6(&o->ip);
}

/* ---- allow_from ---- */

struct prefix {
    struct cmx_ip ip;
    uint32_t bits;
};

/* Reads the entry at the front of *list and moves *list past it. CMX_ENOENT: no entry is left; CMX_EINVAL: the entry is
 * not an address or prefix. */
static cmx_err next_prefix(const char **list, struct prefix *p)
{
    static const char between[] = ", \t";
    const char *begin = *list + strspn(*list, between);
    const size_t len = strcspn(begin, between);

    if (!len)
        return CMX_ENOENT;
    *list = begin + len;
    return cmx_ip_parse_prefix(&p->ip, &p->bits, begin, len) ? CMX_OK : CMX_EINVAL;
}

cmx_err cmx_originator_check_list(const char *list)
{
    struct prefix p;
    unsigned n = 0;
    cmx_err err;

    while ((err = next_prefix(&list, &p)) == CMX_OK)
        if (++n > CMX_PROXY_ALLOW_MAX)
            return CMX_ENOSPC;
    return err == CMX_ENOENT && n ? CMX_OK : CMX_EINVAL;
}

bool cmx_originator_allowed(const struct cmx_originator *o, const char *list)
{
    struct prefix p;

    if (!list)
        return true;
    while (o->known && next_prefix(&list, &p) == CMX_OK)
        if (cmx_ip_in_prefix(&o->ip, &p.ip, p.bits))
            return true;
    return false;
}

/* ---- the PROXY protocol ---- */

static cmx_err put_v1(struct cmx_buf *out, const struct cmx_originator *from, const struct cmx_ip *to, uint32_t port)
{
    char source[CMX_IP_TEXT_MAX], destination[CMX_IP_TEXT_MAX];

    cmx_ip_text(&from->ip, source);
    cmx_ip_text(to, destination);
    return cmx_buf_printf(out, "PROXY TCP%c %s %s %u %u\r\n", cmx_ip_is_v4(to) ? '4' : '6', source, destination,
                          (unsigned)from->port, (unsigned)port);
}

/* Writes a header of version 2. to: NULL if the originator is unknown. */
static cmx_err put_v2(struct cmx_buf *out, const struct cmx_originator *from, const struct cmx_ip *to, uint32_t port)
{
    static const char start[CMX_V2_HEAD] = CMX_V2_SIGNATURE "\x21"; /* version 2, command PROXY; the rest is 0 */
    uint8_t h[CMX_V2_HEAD + CMX_V2_TCP6_LEN];
    uint8_t *at = h + CMX_V2_HEAD;
    const uint8_t *source, *destination;
    size_t len;

    memcpy(h, start, sizeof start);
    if (to) {
        source = cmx_ip_bytes(&from->ip, &len); /* both addresses have the same length */
        memcpy(at, source, len);
        at += len;
        destination = cmx_ip_bytes(to, &len);
        memcpy(at, destination, len);
        at += len;
        *at++ = (uint8_t)(from->port >> 8);
        *at++ = (uint8_t)from->port;
        *at++ = (uint8_t)(port >> 8);
        *at++ = (uint8_t)port;
        h[CMX_V2_FAMILY] = len == 4 ? CMX_V2_TCP4 : CMX_V2_TCP6;
        h[CMX_V2_LENGTH + 1] = (uint8_t)(at - h - CMX_V2_HEAD);
    }
    return cmx_buf_put(out, h, (size_t)(at - h));
}

cmx_err cmx_originator_header(struct cmx_buf *out, cmx_proxy_peer version, const struct cmx_originator *from,
                              const struct cmx_originator *to)
{
    const bool v4 = cmx_ip_is_v4(&from->ip);
    struct cmx_ip ip = to->ip;

    if (from->known && (!to->known || cmx_ip_is_v4(&ip) != v4) && !cmx_ip_parse(&ip, v4 ? "127.0.0.1" : "::1"))
        return CMX_EINTERNAL;
    if (version == CMX_PEER_PROXY_V2)
        return put_v2(out, from, from->known ? &ip : NULL, to->port);
    return from->known ? put_v1(out, from, &ip, to->port) : cmx_buf_put_str(out, V1_UNKNOWN);
}
