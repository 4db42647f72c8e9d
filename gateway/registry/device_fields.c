#include "gateway/registry/device_fields.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/text.h"
#include "port/linux/host_name.h"

cmx_err gw_registry_name_check(const char *name, struct cmx_why *e)
{
    size_t len = strlen(name);

    if (len == 0 || len >= GW_NAME_MAX || name[0] == '-' || name[len - 1] == '-' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        return cmx_why_fail(
            e, CMX_EINVAL,
            "'%.80s' is not a valid name; use lower-case letters, digits and hyphens, at most %d, without "
            "a hyphen at the start or end",
            name, GW_NAME_MAX - 1);
    return CMX_OK;
}

cmx_err gw_device_name_check(const char *name, struct cmx_why *e)
{
    static const char *const reserved[] = {"gateway",
                                           "localhost"}; /* the hosts file gives these names to the gateway's host */
    cmx_err err = gw_registry_name_check(name, e);

    for (size_t i = 0; !err && i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(name, reserved[i]) == 0)
            return cmx_why_fail(e, CMX_EINVAL, "'%s' is reserved for the gateway itself; choose another name", name);
    return err;
}

bool gw_device_host_is_gateway(const char *host, const char *domain)
{
    return strncmp(host, "gateway.", 8) == 0 && (strcmp(host + 8, domain) == 0 || strcmp(host + 8, "cmx") == 0);
}

bool gw_device_has_port(const struct gw_device *d, unsigned port)
{
    for (size_t i = 0; i < d->n_ports; i++)
        if (d->ports[i] == port)
            return true;
    return false;
}

bool gw_device_has_direct(const struct gw_device *d, const struct gw_direct *x)
{
    for (size_t i = 0; i < d->n_directs; i++)
        if (d->directs[i].port == x->port && strcmp(d->directs[i].host, x->host) == 0)
            return true;
    return false;
}

/* Copies the next item of a list to out; false at the end. Commas, semicolons and blanks separate items. An item that
 * is too long is cut and ends in "...", so that the item's parser refuses it. */
static bool next_piece(const char **text, char *out, size_t cap)
{
    size_t len;

    *text += strspn(*text, " \t");
    if (**text == '\0')
        return false;
    len = strcspn(*text, ",; \t");
    snprintf(out, cap, "%.*s%s", (int)(len < cap ? len : cap - 4), *text, len < cap ? "" : "...");
    *text += len;
    *text += strspn(*text, " \t");
    if (**text == ',' || **text == ';')
        (*text)++;
    return true;
}

cmx_err gw_device_parse_ports(struct gw_device *d, const char *text, struct cmx_why *e)
{
    char piece[16];
    uint64_t port;

    d->n_ports = 0;
    while (next_piece(&text, piece, sizeof piece)) {
        if (cmx_text_u64(piece, 1, 65535, &port))
            return cmx_why_fail(e, CMX_EINVAL, "'%s' is not a port; give ports such as 81,8989,8888", piece);
        if (gw_device_has_port(d, (unsigned)port))
            return cmx_why_fail(e, CMX_EINVAL, "port %s is given twice; name each port once", piece);
        if (d->n_ports == GW_PORTS_MAX)
            return cmx_why_fail(e, CMX_EINVAL, "a device can have at most %d ports", GW_PORTS_MAX);
        d->ports[d->n_ports++] = (uint16_t)port;
    }
    return CMX_OK;
}

/* Rewrites an address in the form of RFC 5952 and a name in lower case, because sshd compares hosts as text. */
static void canonical_host(char host[GW_HOST_MAX])
{
    uint8_t raw[CMX_IPV6_LEN];

    if (inet_pton(AF_INET6, host, raw) == 1)
        inet_ntop(AF_INET6, raw, host, GW_HOST_MAX);
    else
        for (char *p = host; *p; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p - 'A' + 'a');
}

static cmx_err parse_direct(struct gw_direct *out, char *piece, struct cmx_why *e)
{
    char *colon = strrchr(piece, ':');
    char *host = piece;
    const char *fault;
    uint64_t port;

    if (!colon || cmx_text_u64(colon + 1, 1, 65535, &port))
        return cmx_why_fail(e, CMX_EINVAL, "the direct service '%s' has no port; give HOST:PORT", piece);
    *colon = '\0';
    if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
        host++;
        colon[-1] = '\0';
    } else if (strchr(host, ':') && !strchr(host, '/')) {
        return cmx_why_fail(e, CMX_EINVAL, "'%s' is an IPv6 address without brackets; write it as [ADDRESS]:PORT",
                            host);
    }
    fault = strpbrk(host, "[]%") ? "is not a host name or address" : cmx_host_fault(host);
    if (fault)
        return cmx_why_fail(e, CMX_EINVAL, "the host '%s' of a direct service %s; give HOST:PORT", host, fault);
    out->port = (uint16_t)port;
    if (cmx_text_copy(out->host, sizeof out->host, host))
        return cmx_why_fail(e, CMX_EINVAL, "the host name of a direct service is too long");
    canonical_host(out->host);
    return CMX_OK;
}

cmx_err gw_device_parse_directs(struct gw_device *d, const char *text, struct cmx_why *e)
{
    char piece[GW_HOST_MAX + 16];

    d->n_directs = 0;
    while (next_piece(&text, piece, sizeof piece)) {
        struct gw_direct x;
        cmx_err err = parse_direct(&x, piece, e);

        if (err)
            return err;
        if (gw_device_has_direct(d, &x))
            continue;
        if (d->n_directs == GW_DIRECTS_MAX)
            return cmx_why_fail(e, CMX_EINVAL, "a device can have at most %d direct services", GW_DIRECTS_MAX);
        d->directs[d->n_directs++] = x;
    }
    return CMX_OK;
}
