#include "cmxsafe/identity/identity.h"

#include <string.h>

#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/port.h"

#define COMMENT_MAX 24

static cmx_err derive(cmx_hmac_fn hmac, void *arg, cmx_label label, uint8_t counter, uint8_t out[CMX_SHA256_LEN])
{
    uint8_t msg[CMX_LABEL_LEN];

    cmx_label_message(label, counter, msg);
    return hmac(arg, msg, sizeof msg, out);
}

cmx_err cmx_identity_ueid(cmx_hmac_fn hmac, void *arg, uint8_t out[CMX_UEID_LEN])
{
    out[0] = 1; /* the type RAND */
    return derive(hmac, arg, CMX_LABEL_UEID, 0, out + 1);
}

cmx_err cmx_identity_evidence_key(cmx_hmac_fn hmac, void *arg, uint8_t out[CMX_HMAC_KEY_LEN])
{
    return derive(hmac, arg, CMX_LABEL_EVIDENCE, 0, out);
}

cmx_err cmx_identity_appraisal_key(cmx_hmac_fn hmac, void *arg, uint8_t out[CMX_HMAC_KEY_LEN])
{
    return derive(hmac, arg, CMX_LABEL_APPRAISAL, 0, out);
}

static cmx_err derive_p256(cmx_hmac_fn hmac, void *arg, cmx_label label, uint8_t scalar[CMX_P256_SCALAR_LEN],
                           uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    /* A candidate is out of range with probability 2^-32, so a few attempts are enough. */
    for (unsigned counter = 0; counter < 256; counter++) {
        cmx_err err = derive(hmac, arg, label, (uint8_t)counter, scalar);

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

cmx_err cmx_identity_ssh_key(cmx_hmac_fn hmac, void *arg, uint8_t scalar[CMX_P256_SCALAR_LEN],
                             uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    return derive_p256(hmac, arg, CMX_LABEL_SSH, scalar, pub);
}

cmx_err cmx_identity_attest_key(cmx_hmac_fn hmac, void *arg, uint8_t scalar[CMX_P256_SCALAR_LEN],
                                uint8_t pub[CMX_P256_PUBLIC_LEN])
{
    return derive_p256(hmac, arg, CMX_LABEL_ATTEST, scalar, pub);
}

/* The SSH public key (RFC 5656 section 3.1) up to the bytes of the point: the type, the curve and the point's length.
 * Type, curve and point are strings (RFC 4251 section 5). */
#define PUBLIC_HEAD "\0\0\0\x13" CMX_IDENTITY_KEY_TYPE "\0\0\0\x08nistp256\0\0\0\x41"

struct public_key {
    char head[sizeof PUBLIC_HEAD - 1];
    uint8_t point[CMX_P256_PUBLIC_LEN];
};

static cmx_err make_comment(cmx_hmac_fn hmac, void *arg, char out[COMMENT_MAX])
{
    uint8_t ueid[CMX_UEID_LEN];
    cmx_err err = cmx_identity_ueid(hmac, arg, ueid);

    if (err)
        return err;
    memcpy(out, "cmxsafe-", 8);
    cmx_text_hex_encode(out + 8, ueid + 1, 6);
    return CMX_OK;
}

cmx_err cmx_identity_ssh_public(cmx_hmac_fn hmac, void *arg, struct cmx_buf *out, char fingerprint[CMX_FINGERPRINT_LEN])
{
    struct public_key k;
    uint8_t scalar[CMX_P256_SCALAR_LEN], digest[CMX_SHA256_LEN];
    char comment[COMMENT_MAX];
    cmx_err err = cmx_identity_ssh_key(hmac, arg, scalar, k.point);

    cmx_secret_wipe(scalar, sizeof scalar);
    memcpy(k.head, PUBLIC_HEAD, sizeof k.head);
    if (!err)
        err = make_comment(hmac, arg, comment);
    if (err)
        return err;
    cmx_buf_put_str(out, CMX_IDENTITY_KEY_TYPE " ");
    cmx_base64_encode(out, &k, sizeof k, 0);
    err = cmx_buf_printf(out, " %s", comment);
    if (!err && fingerprint) {
        err = cmx_sha256_of(&k, sizeof k, digest);
        if (!err)
            cmx_base64_fingerprint(fingerprint, digest);
    }
    return err;
}

/* The beginning of a key file (PROTOCOL.key): magic, cipher, key derivation and its options, the number of keys, and
 * the length of the public key. */
#define PRIVATE_HEAD "openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01\0\0\0\x68"
_Static_assert(sizeof(struct public_key) == 0x68, "the length in PRIVATE_HEAD");

#define SECTION_MAX 160 /* maximum size of put_private_section's output, in bytes */
#define FILE_MAX 320    /* maximum size of the whole file in bytes, before it is encoded as base64 */

/* All buffers with secrets, in one struct that is wiped once the key has been written. */
struct workspace {
    uint8_t scalar[CMX_P256_SCALAR_LEN];
    struct public_key pub;
    uint8_t section[SECTION_MAX];
    uint8_t file[FILE_MAX];
};

/* Writes an unsigned big-endian number as an mpint of RFC 4251 section 5: without leading zeros, except one if the top
 * bit is set. */
static void put_mpint(struct cmx_buf *b, const uint8_t *p, size_t len)
{
    bool zero;

    while (len > 0 && *p == 0) {
        p++;
        len--;
    }
    zero = len > 0 && *p & 0x80;
    cmx_buf_put_be32(b, (uint32_t)(len + zero));
    cmx_buf_put(b, "", zero);
    cmx_buf_put(b, p, len);
}

/* Writes the section that a passphrase would encrypt: the same check number twice, the key, no comment, and padding
 * 1 2 3 ... to a multiple of 8. */
static cmx_err put_private_section(struct cmx_buf *b, const struct workspace *k)
{
    cmx_buf_put(b, k->pub.point + 1, 4); /* the check number may have any value */
    cmx_buf_put(b, k->pub.point + 1, 4);
    cmx_buf_put(b, &k->pub, sizeof k->pub);
    put_mpint(b, k->scalar, sizeof k->scalar);
    cmx_buf_put_be32(b, 0);
    for (uint8_t pad = 1; cmx_buf_len(b) % 8; pad++)
        cmx_buf_put_u8(b, pad);
    return cmx_buf_error(b);
}

cmx_err cmx_identity_ssh_private(cmx_hmac_fn hmac, void *arg, struct cmx_buf *out)
{
    struct workspace k;
    struct cmx_buf section, file;
    cmx_err err = cmx_identity_ssh_key(hmac, arg, k.scalar, k.pub.point);

    if (err)
        return err; /* cmx_identity_ssh_key has wiped the scalar */
    memcpy(k.pub.head, PUBLIC_HEAD, sizeof k.pub.head);
    cmx_buf_init(&section, k.section, sizeof k.section);
    err = put_private_section(&section, &k);
    cmx_buf_init(&file, k.file, sizeof k.file);
    cmx_buf_put(&file, PRIVATE_HEAD, sizeof PRIVATE_HEAD - 1);
    cmx_buf_put(&file, &k.pub, sizeof k.pub);
    cmx_buf_put_be32(&file, (uint32_t)cmx_buf_len(&section));
    cmx_buf_put(&file, cmx_buf_data(&section), cmx_buf_len(&section));
    if (!err)
        err = cmx_buf_error(&file);
    if (!err) {
        cmx_buf_put_str(out, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
        cmx_base64_encode(out, cmx_buf_data(&file), cmx_buf_len(&file), 70);
        err = cmx_buf_put_str(out, "-----END OPENSSH PRIVATE KEY-----\n");
    }
    cmx_secret_wipe(&k, sizeof k);
    return err;
}

cmx_err cmx_identity_hw_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    (void)arg;
    return cmx_port_hw_hmac(msg, len, out);
}

cmx_err cmx_identity_key_load(void *arg, struct cmx_buf *out)
{
    return cmx_identity_ssh_private(cmx_identity_hw_hmac, arg, out);
}
