#include "cmxsafe/identity/identity.h"

#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"

#define KEY_TYPE "ecdsa-sha2-nistp256"
#define CURVE "nistp256"
#define COMMENT_MAX 24

static cmx_err derive(cmx_hmac_fn hmac, void *arg, cmx_label label, uint8_t counter, uint8_t out[32])
{
    uint8_t msg[CMX_LABEL_LEN];

    cmx_label_message(label, counter, msg);
    return hmac(arg, msg, sizeof msg, out);
}

cmx_err cmx_identity_ueid(cmx_hmac_fn hmac, void *arg, uint8_t out[CMX_UEID_LEN])
{
    out[0] = 1; /* RAND */
    return derive(hmac, arg, CMX_LABEL_UEID, 0, out + 1);
}

cmx_err cmx_identity_evidence_key(cmx_hmac_fn hmac, void *arg, uint8_t out[32])
{
    return derive(hmac, arg, CMX_LABEL_EVIDENCE, 0, out);
}

cmx_err cmx_identity_ssh_key(cmx_hmac_fn hmac, void *arg, uint8_t scalar[CMX_P256_SCALAR_LEN],
                             uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    /* A candidate is out of range with probability 2^-32: the counter never gets far. */
    for (unsigned counter = 0; counter < 256; counter++) {
        cmx_err err = derive(hmac, arg, CMX_LABEL_SSH, (uint8_t)counter, scalar);

        if (!err)
            err = cmx_p256_public(scalar, pub);
        if (!err)
            return CMX_OK;
        cmx_secret_wipe(scalar, CMX_P256_SCALAR_LEN);
        if (err != CMX_EINVAL)
            return err;
    }
    return CMX_EINTERNAL;
}

/* RFC 4251 section 5: string. */
static cmx_err put_string(struct cmx_buf *b, const void *data, size_t len)
{
    cmx_err err = cmx_buf_put_be32(b, (uint32_t)len);

    return err ? err : cmx_buf_put(b, data, len);
}

/* RFC 4251 section 5: mpint, of an unsigned big-endian number: no leading zeros, but one where the top bit is set. */
static cmx_err put_mpint(struct cmx_buf *b, const uint8_t *p, size_t len)
{
    cmx_err err;

    while (len > 0 && *p == 0) {
        p++;
        len--;
    }
    if (len == 0 || !(*p & 0x80))
        return put_string(b, p, len);
    err = cmx_buf_put_be32(b, (uint32_t)len + 1);
    if (!err)
        err = cmx_buf_put_u8(b, 0);
    return err ? err : cmx_buf_put(b, p, len);
}

/* RFC 5656 section 3.1: type, curve, Q. */
static cmx_err put_public(struct cmx_buf *b, const uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    cmx_err err = put_string(b, KEY_TYPE, strlen(KEY_TYPE));

    if (!err)
        err = put_string(b, CURVE, strlen(CURVE));
    return err ? err : put_string(b, pub, CMX_P256_PUBLIC_LEN);
}

static cmx_err make_comment(cmx_hmac_fn hmac, void *arg, char out[COMMENT_MAX])
{
    uint8_t ueid[CMX_UEID_LEN];
    cmx_err err = cmx_identity_ueid(hmac, arg, ueid);

    if (err)
        return err;
    memcpy(out, "cmxsafe-", 8);
    cmx_hex_encode(out + 8, ueid + 1, 6);
    return CMX_OK;
}

/* The section that a passphrase would encrypt: twice the same check number, the key, the comment, padding 1 2 3 ... to
 * a multiple of 8 (PROTOCOL.key). */
static cmx_err put_private_section(struct cmx_buf *b, const uint8_t *scalar, const uint8_t *pub, const char *comment)
{
    cmx_err err = cmx_buf_put(b, pub + 1, 4); /* any number: it only proves a decryption */

    if (!err)
        err = cmx_buf_put(b, pub + 1, 4);
    if (!err)
        err = put_public(b, pub);
    if (!err)
        err = put_mpint(b, scalar, CMX_P256_SCALAR_LEN);
    if (!err)
        err = put_string(b, comment, strlen(comment));
    for (uint8_t pad = 1; !err && cmx_buf_len(b) % 8; pad++)
        err = cmx_buf_put_u8(b, pad);
    return err;
}

static cmx_err put_key_file(struct cmx_buf *b, const uint8_t *pub, struct cmx_buf *section)
{
    uint8_t mem[128];
    struct cmx_buf blob;
    cmx_err err = cmx_buf_put(b, "openssh-key-v1", 15); /* with its NUL */

    cmx_buf_init(&blob, mem, sizeof mem);
    if (!err)
        err = put_string(b, "none", 4); /* cipher */
    if (!err)
        err = put_string(b, "none", 4); /* key derivation */
    if (!err)
        err = put_string(b, "", 0); /* its options */
    if (!err)
        err = cmx_buf_put_be32(b, 1); /* keys in this file */
    if (!err)
        err = put_public(&blob, pub);
    if (!err)
        err = put_string(b, cmx_buf_data(&blob), cmx_buf_len(&blob));
    return err ? err : put_string(b, cmx_buf_data(section), cmx_buf_len(section));
}

/* What is wiped as one when the key has been written. */
struct workspace {
    uint8_t scalar[CMX_P256_SCALAR_LEN];
    uint8_t pub[CMX_P256_PUBLIC_LEN];
    uint8_t section[232];
    uint8_t file[416];
};

cmx_err cmx_identity_ssh_private(cmx_hmac_fn hmac, void *arg, struct cmx_buf *out)
{
    struct workspace w;
    struct cmx_buf section, file;
    char comment[COMMENT_MAX];
    cmx_err err = make_comment(hmac, arg, comment);

    cmx_buf_init(&section, w.section, sizeof w.section);
    cmx_buf_init(&file, w.file, sizeof w.file);
    if (!err)
        err = cmx_identity_ssh_key(hmac, arg, w.scalar, w.pub);
    if (!err)
        err = put_private_section(&section, w.scalar, w.pub, comment);
    if (!err)
        err = put_key_file(&file, w.pub, &section);
    if (!err)
        err = cmx_buf_put_str(out, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    if (!err)
        err = cmx_base64_encode(out, cmx_buf_data(&file), cmx_buf_len(&file), 70);
    if (!err)
        err = cmx_buf_put_str(out, "-----END OPENSSH PRIVATE KEY-----\n");
    cmx_secret_wipe(&w, sizeof w);
    return err;
}

cmx_err cmx_identity_ssh_public(cmx_hmac_fn hmac, void *arg, struct cmx_buf *out)
{
    uint8_t scalar[CMX_P256_SCALAR_LEN], pub[CMX_P256_PUBLIC_LEN], mem[128];
    char comment[COMMENT_MAX];
    struct cmx_buf blob;
    cmx_err err = cmx_identity_ssh_key(hmac, arg, scalar, pub);

    cmx_secret_wipe(scalar, sizeof scalar);
    cmx_buf_init(&blob, mem, sizeof mem);
    if (!err)
        err = make_comment(hmac, arg, comment);
    if (!err)
        err = put_public(&blob, pub);
    if (!err)
        err = cmx_buf_put_str(out, KEY_TYPE " ");
    if (!err)
        err = cmx_base64_encode(out, cmx_buf_data(&blob), cmx_buf_len(&blob), 0);
    return err ? err : cmx_buf_printf(out, " %s", comment);
}

cmx_err cmx_identity_hw_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    (void)arg;
    return cmx_port_hw_hmac(msg, len, out);
}

cmx_err cmx_identity_key_load(void *arg, struct cmx_buf *out)
{
    return cmx_identity_ssh_private(cmx_identity_hw_hmac, arg, out);
}
