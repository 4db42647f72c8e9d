#include "gateway/registry/sshkey.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/port/crypto.h"

static const char *const key_types[] = {
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
};

static bool known_type(const char *type, size_t len)
{
    for (size_t i = 0; i < sizeof key_types / sizeof key_types[0]; i++)
        if (strlen(key_types[i]) == len && strncmp(key_types[i], type, len) == 0)
            return true;
    return false;
}

static cmx_err get_string(struct cmx_buf *b, const uint8_t **out, size_t *len)
{
    uint32_t n = 0;
    cmx_err err = cmx_buf_get_be32(b, &n);

    if (err)
        return err;
    *len = n;
    return cmx_buf_get_ptr(b, out, n);
}

/* The modulus' size, RFC 4253 section 6.6: string type, mpint e, mpint n. */
static cmx_err check_rsa(struct cmx_buf *b, struct gw_error *e)
{
    const uint8_t *p;
    size_t len;

    if (get_string(b, &p, &len) || get_string(b, &p, &len) || len == 0)
        return gw_error_set(e, CMX_EFORMAT, NULL, "the RSA key is cut short");
    if (p[0] == 0)
        p++, len--;
    if (len * 8 < GW_RSA_BITS_MIN)
        return gw_error_set(e, CMX_ENOTSUP, "make one with 'ssh-keygen -t ed25519'",
                            "an RSA key of %zu bits is too short", len * 8);
    return CMX_OK;
}

/* The type inside the blob must be the one written before it: else a line could claim one and be another. */
static cmx_err check_blob(struct gw_key *k, struct gw_error *e)
{
    struct cmx_buf b;
    const uint8_t *p;
    size_t len;

    cmx_buf_init_view(&b, k->raw, k->raw_len);
    if (get_string(&b, &p, &len) || len != strlen(k->type) || strncmp((const char *)p, k->type, len) != 0)
        return gw_error_set(e, CMX_EFORMAT, NULL, "the key does not hold what its type %s says", k->type);
    if (strcmp(k->type, "ssh-rsa") == 0)
        return check_rsa(&b, e);
    if (strcmp(k->type, "ssh-ed25519") == 0)
        return get_string(&b, &p, &len) || len != 32 || cmx_buf_len(&b)
                   ? gw_error_set(e, CMX_EFORMAT, NULL, "the ed25519 key has a wrong length")
                   : CMX_OK;
    /* ecdsa: string curve, string point (RFC 5656 section 3.1) */
    if (get_string(&b, &p, &len) || get_string(&b, &p, &len) || len < 65 || p[0] != 4 || cmx_buf_len(&b))
        return gw_error_set(e, CMX_EFORMAT, NULL, "the ECDSA key has no uncompressed point");
    return CMX_OK;
}

static cmx_err set_fingerprint(struct gw_key *k, struct gw_error *e)
{
    struct cmx_sha256 h;
    uint8_t digest[CMX_SHA256_LEN];

    if (cmx_sha256_init(&h) || cmx_sha256_update(&h, k->raw, k->raw_len) || cmx_sha256_finish(&h, digest)) {
        cmx_sha256_abort(&h);
        return gw_error_set(e, CMX_EIO, NULL, "hashing failed");
    }
    memcpy(k->fingerprint, "SHA256:", 7);
    cmx_base64_text(k->fingerprint + 7, digest, sizeof digest);
    return CMX_OK;
}

cmx_err gw_key_parse(struct gw_key *k, const char *line, struct gw_error *e)
{
    size_t type_len = strcspn(line, " \t\r\n");
    const char *blob = line + type_len + strspn(line + type_len, " \t");
    size_t blob_len = strcspn(blob, " \t\r\n");
    cmx_err err;

    memset(k, 0, sizeof *k);
    if (strncmp(line, "-----BEGIN", 10) == 0)
        return gw_error_set(e, CMX_EFORMAT,
                            "give the public key (the .pub file); a private one never leaves the device",
                            "this is a private key");
    if (!known_type(line, type_len))
        return gw_error_set(e, CMX_ENOTSUP, "use an ed25519, ECDSA or RSA key of OpenSSH's one-line form",
                            "no public key of a supported type");
    if (blob_len == 0 || blob_len >= sizeof k->blob)
        return gw_error_set(e, CMX_EFORMAT, NULL, "the key's base64 part is %s", blob_len ? "too long" : "missing");
    memcpy(k->type, line, type_len);
    memcpy(k->blob, blob, blob_len);
    /* Padded, so that a key has one spelling: sshd compares text. */
    err = blob_len % 4 ? CMX_EFORMAT : cmx_base64_decode(k->raw, sizeof k->raw, k->blob, blob_len, &k->raw_len);
    if (err)
        return gw_error_set(e, CMX_EFORMAT, NULL, "the key's base64 part is broken");
    err = check_blob(k, e);
    return err ? err : set_fingerprint(k, e);
}

cmx_err gw_key_read(struct gw_key *k, const char *path, struct gw_error *e)
{
    char line[GW_KEY_BLOB_MAX + 512];
    FILE *f = fopen(path, "re");
    const char *got;

    if (!f)
        return gw_error_set(e, CMX_ENOENT, NULL, "can't read the key file %s (%s)", path, strerror(errno));
    got = fgets(line, sizeof line, f);
    fclose(f);
    if (!got)
        return gw_error_set(e, CMX_EFORMAT, NULL, "the key file %s is empty", path);
    return gw_key_parse(k, line, e);
}
