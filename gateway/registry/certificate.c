#include "gateway/registry/certificate.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/port/crypto.h"

#define USER_CERTIFICATE 1 /* SSH2_CERT_TYPE_USER */

static const char suffix[] = "-cert-v01@openssh.com";

/* plain: the type of the certified key. fields: the number of strings and numbers that make up that key in the
 * certificate. */
static const struct {
    const char *type;
    const char *plain;
    unsigned fields;
} kinds[] = {
    {"ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", 1},
    {"ecdsa-sha2-nistp256-cert-v01@openssh.com", "ecdsa-sha2-nistp256", 2},
    {"ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp384", 2},
    {"ecdsa-sha2-nistp521-cert-v01@openssh.com", "ecdsa-sha2-nistp521", 2},
    {"ssh-rsa-cert-v01@openssh.com", "ssh-rsa", 2},
    {"sk-ssh-ed25519-cert-v01@openssh.com", "sk-ssh-ed25519@openssh.com", 2},
    {"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", 3},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

bool gw_certificate_is_type(const char *type)
{
    size_t len = strlen(type);

    return len > sizeof suffix - 1 && strcmp(type + len - (sizeof suffix - 1), suffix) == 0;
}

static cmx_err get_u64(struct cmx_buf *b, uint64_t *out)
{
    uint32_t high = 0;
    uint32_t low = 0;
    cmx_err err = cmx_buf_get_be32(b, &high);

    if (!err)
        err = cmx_buf_get_be32(b, &low);
    *out = (uint64_t)high << 32 | low;
    return err;
}

/* Computes the fingerprint of the certified key: hashes its type, then its fields as they are in the certificate. */
static cmx_err plain_fingerprint(struct gw_certificate *c, const char *type, const uint8_t *fields, size_t len)
{
    uint8_t digest[CMX_SHA256_LEN];
    struct cmx_sha256 h;
    size_t n = strlen(type);
    const uint8_t prefix[4] = {0, 0, 0, (uint8_t)n};
    cmx_err err = cmx_sha256_init(&h);

    if (!err)
        err = cmx_sha256_update(&h, prefix, sizeof prefix);
    if (!err)
        err = cmx_sha256_update(&h, type, n);
    if (!err)
        err = cmx_sha256_update(&h, fields, len);
    if (!err)
        err = cmx_sha256_finish(&h, digest);
    if (err)
        cmx_sha256_abort(&h);
    else
        cmx_base64_fingerprint(c->fingerprint, digest);
    return err;
}

/* A CA chooses the key ID, so characters that could split a printed or stored line are replaced. */
static void set_id(struct gw_certificate *c, const uint8_t *id, size_t len)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@/:+= ";
    size_t n = len < sizeof c->id - 1 ? len : sizeof c->id - 1;

    for (size_t i = 0; i < n; i++)
        c->id[i] = id[i] && strchr(plain, id[i]) ? (char)id[i] : '?';
    c->id[n] = '\0';
}

/* The fields of a certificate: string type, string nonce, the key's fields, uint64 serial, uint32 kind, string id,
 * string principals, uint64 begins, uint64 ends, string critical options, string extensions, string reserved, string CA
 * key, string signature. */
static cmx_err parse_raw(struct gw_certificate *c, const char *plain, unsigned fields)
{
    struct cmx_buf b;
    const uint8_t *p;
    const uint8_t *key;
    uint8_t digest[CMX_SHA256_LEN];
    size_t len;
    uint32_t kind = 0;

    cmx_buf_init_view(&b, c->raw, c->raw_len);
    if (gw_key_get_string(&b, &p, &len) || len != strlen(c->type) || memcmp(p, c->type, len) != 0 ||
        gw_key_get_string(&b, &p, &len))
        return CMX_EFORMAT;
    key = cmx_buf_data(&b);
    for (unsigned i = 0; i < fields; i++)
        if (gw_key_get_string(&b, &p, &len))
            return CMX_EFORMAT;
    if (plain_fingerprint(c, plain, key, (size_t)(cmx_buf_data(&b) - key)))
        return CMX_EIO;
    if (get_u64(&b, &c->serial) || cmx_buf_get_be32(&b, &kind) || gw_key_get_string(&b, &p, &len))
        return CMX_EFORMAT;
    c->user = kind == USER_CERTIFICATE;
    set_id(c, p, len);
    if (gw_key_get_string(&b, &p, &c->principals_len))
        return CMX_EFORMAT;
    c->principals_at = (size_t)(p - c->raw);
    if (get_u64(&b, &c->begins) || get_u64(&b, &c->ends))
        return CMX_EFORMAT;
    for (unsigned i = 0; i < 3; i++)
        if (gw_key_get_string(&b, &p, &len))
            return CMX_EFORMAT;
    if (gw_key_get_string(&b, &key, &len) || len == 0)
        return CMX_EFORMAT;
    if (cmx_sha256_of(key, len, digest))
        return CMX_EIO;
    cmx_base64_fingerprint(c->authority, digest);
    return gw_key_get_string(&b, &p, &len) || cmx_buf_len(&b) ? CMX_EFORMAT : CMX_OK;
}

cmx_err gw_certificate_parse(struct gw_certificate *c, const char *line, struct cmx_why *e)
{
    size_t type_len = strcspn(line, " \t\r\n");
    const char *blob = line + type_len + strspn(line + type_len, " \t");
    size_t blob_len = strcspn(blob, " \t\r\n");
    size_t i = 0;
    cmx_err err;

    memset(c, 0, sizeof *c);
    while (i < KINDS && (strlen(kinds[i].type) != type_len || strncmp(kinds[i].type, line, type_len) != 0))
        i++;
    if (i == KINDS)
        return cmx_why_fail(e, CMX_ENOTSUP, "a certificate of type '%.*s' is not supported",
                            (int)(type_len < 60 ? type_len : 60), line);
    snprintf(c->type, sizeof c->type, "%s", kinds[i].type);
    err = cmx_base64_decode(c->raw, sizeof c->raw, blob, blob_len, &c->raw_len);
    if (err == CMX_ENOSPC)
        return cmx_why_fail(e, CMX_EFORMAT, "the certificate is longer than %d bytes", GW_CERTIFICATE_RAW_MAX);
    if (!err)
        err = parse_raw(c, kinds[i].plain, kinds[i].fields);
    return err ? cmx_why_fail(e, err, "the certificate is damaged") : CMX_OK;
}

bool gw_certificate_principal(const struct gw_certificate *c, size_t *at, char *out, size_t cap)
{
    struct cmx_buf b;
    const uint8_t *p;
    size_t len;

    cmx_buf_init_view(&b, c->raw + c->principals_at + *at, c->principals_len - *at);
    while (!gw_key_get_string(&b, &p, &len)) {
        *at = c->principals_len - cmx_buf_len(&b);
        if (len >= cap || (len && memchr(p, '\0', len)))
            continue;
        if (len)
            memcpy(out, p, len);
        out[len] = '\0';
        return true;
    }
    return false;
}
