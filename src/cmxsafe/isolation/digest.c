#include "cmxsafe/isolation/digest.h"

#include <string.h>

#include "cmxsafe/core/buf.h"

static const char domain[] = "cmxsafe policy 1";

/* IPv4 addresses in their mapped form (RFC 4291 section 2.5.5.2), so that each has 16 bytes. */
static cmx_err put_ip(struct cmx_buf *b, const struct cmx_ip *ip)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    size_t len;
    const uint8_t *p = cmx_ip_bytes(ip, &len);
    cmx_err err = len == 4 ? cmx_buf_put(b, mapped, sizeof mapped) : CMX_OK;

    return err ? err : cmx_buf_put(b, p, len);
}

static cmx_err put_ips(struct cmx_buf *b, const struct cmx_ip *ips, size_t n)
{
    cmx_err err = cmx_buf_put_u8(b, (uint8_t)n);

    for (size_t i = 0; i < n && !err; i++)
        err = put_ip(b, &ips[i]);
    return err;
}

/* What has been written goes into the digest, and the buffer is empty again. */
static cmx_err flush(struct cmx_sha256 *h, struct cmx_buf *b)
{
    cmx_err err = cmx_sha256_update(h, cmx_buf_data(b), cmx_buf_len(b));

    cmx_buf_clear(b);
    return err;
}

static cmx_err put_text(struct cmx_sha256 *h, struct cmx_buf *b, const char *text)
{
    size_t len = strlen(text);
    cmx_err err = cmx_buf_put_be16(b, (uint16_t)len);

    if (!err)
        err = flush(h, b);
    return !err && len ? cmx_sha256_update(h, text, len) : err;
}

static cmx_err add_addresses(struct cmx_sha256 *h, struct cmx_buf *b, const struct cmx_iso_config *c)
{
    cmx_err err = cmx_buf_put(b, domain, sizeof domain);

    if (!err)
        err = cmx_buf_put_be16(b, c->gateway_port);
    if (!err)
        err = put_ips(b, c->gateways, c->n_gateways);
    if (!err)
        err = put_ips(b, c->resolvers, c->n_resolvers);
    if (!err)
        err = put_ips(b, c->time_servers, c->n_time_servers);
    return err ? err : flush(h, b);
}

static cmx_err add_names(struct cmx_sha256 *h, struct cmx_buf *b, const struct cmx_iso_config *c)
{
    cmx_err err = CMX_OK;

    for (size_t i = 0; i < CMX_ISO_NAMES_MAX && !err; i++)
        err = put_text(h, b, c->names[i] ? c->names[i] : "");
    return err;
}

static cmx_err add_switches(struct cmx_sha256 *h, struct cmx_buf *b, const struct cmx_iso_config *c)
{
    uint8_t switches[] = {c->dhcp4, c->dhcp6, c->ipv6};
    cmx_err err = cmx_buf_put(b, switches, sizeof switches);

    for (size_t i = 0; i < CMX_ISO_CONTROL_MAX && !err; i++)
        err = cmx_buf_put_be16(b, c->control_ports[i]);
    return err ? err : flush(h, b);
}

static cmx_err add_contexts(struct cmx_sha256 *h, struct cmx_buf *b, const struct cmx_iso_config *c)
{
    cmx_err err = cmx_buf_put_u8(b, (uint8_t)c->n_contexts);

    for (size_t i = 0; i < c->n_contexts && !err; i++) {
        const struct cmx_iso_context *x = &c->contexts[i];

        err = cmx_buf_put_u8(b, x->direct);
        if (!err)
            err = cmx_buf_put_u8(b, x->tasks != NULL);
        if (!err)
            err = cmx_buf_put_be16(b, x->port);
        if (!err)
            err = put_ip(b, &x->local);
        if (!err && x->tasks)
            err = put_text(h, b, x->tasks);
        if (!err)
            err = flush(h, b);
    }
    return err ? err : flush(h, b);
}

cmx_err cmx_iso_config_digest(const struct cmx_iso_config *c, uint8_t out[CMX_SHA256_LEN])
{
    uint8_t mem[sizeof domain + 2 + 3 * (1 + 16 * CMX_ISO_ADDRESSES_MAX)];
    struct cmx_sha256 h;
    struct cmx_buf b;
    cmx_err err = cmx_sha256_init(&h);

    if (err)
        return err;
    cmx_buf_init(&b, mem, sizeof mem);
    err = add_addresses(&h, &b, c);
    if (!err)
        err = add_names(&h, &b, c);
    if (!err)
        err = add_switches(&h, &b, c);
    if (!err)
        err = add_contexts(&h, &b, c);
    if (!err)
        return cmx_sha256_finish(&h, out);
    cmx_sha256_abort(&h);
    return err;
}
