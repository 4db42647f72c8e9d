#include "cmxsafe/isolation/digest.h"

#include <string.h>

#include "cmxsafe/core/label.h"

static const char domain[] = CMX_DOMAIN_POLICY;

/* A hash that ignores input after an error, so that the code below need not check each call. */
struct digest {
    struct cmx_sha256 sha;
    cmx_err err;
};

static void add(struct digest *d, const void *data, size_t len)
{
    if (!d->err && len)
        d->err = cmx_sha256_update(&d->sha, data, len);
}

/* A number that does not fit is an error. Otherwise two configurations could have the same digest. */
static void add_u8(struct digest *d, size_t v)
{
    const uint8_t byte = (uint8_t)v;

    add(d, &byte, 1);
    if (v > UINT8_MAX)
        d->err = CMX_EINVAL;
}

static void add_be16(struct digest *d, size_t v)
{
    add_u8(d, v >> 8);
    add_u8(d, v & UINT8_MAX);
}

/* From 255 contexts on, the number takes three bytes: in a single byte, 256 would equal 0. */
static void add_count(struct digest *d, size_t n)
{
    const bool is_long = CMX_ISO_CONTEXTS_MAX >= UINT8_MAX && n >= UINT8_MAX;

    add_u8(d, is_long ? UINT8_MAX : n);
    if (is_long)
        add_be16(d, n);
}

/* struct cmx_ip holds IPv4 addresses in their mapped form (RFC 4291 section 2.5.5.2), so every address has 16 bytes. */
static void add_ip(struct digest *d, const struct cmx_ip *ip)
{
    add(d, ip->w, sizeof ip->w);
}

static void add_ips(struct digest *d, const struct cmx_ip *ips, size_t n)
{
    add_u8(d, n);
    for (size_t i = 0; i < n; i++)
        add_ip(d, &ips[i]);
}

static void add_text(struct digest *d, const char *text)
{
    size_t len = text ? strlen(text) : 0;

    add_be16(d, len);
    add(d, text, len);
}

static void add_context(struct digest *d, const struct cmx_iso_context *x)
{
    add_u8(d, x->direct);
    add_u8(d, x->tasks != NULL);
    add_be16(d, x->port);
    add_ip(d, &x->local);
    if (x->tasks)
        add_text(d, x->tasks);
}

static void add_gateway_ip(struct digest *d, const struct cmx_iso_gateway *g)
{
    add_ips(d, &g->ip, !cmx_ip_is_any(&g->ip));
}

static void add_config(struct digest *d, const struct cmx_iso_config *c)
{
    static const struct cmx_iso_gateway none;
    const struct cmx_iso_gateway *first = c->n_gateways ? c->gateways : &none;

    add(d, domain, sizeof domain);
    add_be16(d, first->port);
    add_gateway_ip(d, first);
    add_ips(d, c->resolvers, c->n_resolvers);
    add_ips(d, c->time_servers, c->n_time_servers);
    add_text(d, first->name);
    for (size_t i = 0; i < CMX_ISO_TIME_NAMES_MAX; i++)
        add_text(d, c->time_names[i]);
    add_u8(d, c->dhcp4);
    add_u8(d, c->dhcp6);
    add_u8(d, c->ipv6);
    for (size_t i = 0; i < CMX_ISO_CONTROL_MAX; i++)
        add_be16(d, c->control_ports[i]);
    add_count(d, c->n_contexts);
    for (size_t i = 0; i < c->n_contexts; i++)
        add_context(d, &c->contexts[i]);
    for (size_t i = 1; i < c->n_gateways; i++) {
        add_be16(d, c->gateways[i].port);
        add_gateway_ip(d, &c->gateways[i]);
        add_text(d, c->gateways[i].name);
    }
}

cmx_err cmx_iso_config_digest(const struct cmx_iso_config *c, uint8_t out[CMX_SHA256_LEN])
{
    struct digest d;

    d.err = cmx_sha256_init(&d.sha);
    if (d.err)
        return d.err;
    add_config(&d, c);
    if (!d.err)
        return cmx_sha256_finish(&d.sha, out);
    cmx_sha256_abort(&d.sha);
    return d.err;
}
