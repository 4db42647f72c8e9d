#include "cmxsafe/ota/trailer.h"

#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/ota/bytes.h"
#include "cmxsafe/port/crypto.h"

enum { VERSION = 1, ECDSA_P256_SHA256 = 1 };

const uint8_t cmx_trailer_magic[CMX_TRAILER_MAGIC_LEN] = {'C', 'M', 'X', 'S', 'I', 'G', '\r', '\n'};

/* The SubjectPublicKeyInfo of a P-256 key (RFC 5480 section 2) consists of these bytes and the point. */
static const uint8_t spki[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
                               0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};

/* Writes the part of the trailer that the signature covers: everything before the signature. */
static void put_head(const struct cmx_trailer *t, uint8_t out[CMX_TRAILER_SIGNED_LEN])
{
    memset(out, 0, CMX_TRAILER_SIGNED_LEN);
    memcpy(out, cmx_trailer_magic, CMX_TRAILER_MAGIC_LEN);
    out[8] = VERSION;
    out[9] = ECDSA_P256_SHA256;
    cmx_put_le16(out + 10, CMX_TRAILER_LEN);
    cmx_put_le32(out + 12, t->signed_len);
    memcpy(out + 16, t->key_id, sizeof t->key_id);
}

cmx_err cmx_trailer_parse(struct cmx_trailer *t, const void *data, size_t len)
{
    uint8_t head[CMX_TRAILER_SIGNED_LEN];
    const uint8_t *p = data;

    if (len != CMX_TRAILER_LEN)
        return CMX_ETRUNC;
    if (memcmp(p, cmx_trailer_magic, CMX_TRAILER_MAGIC_LEN) != 0)
        return CMX_EFORMAT;
    if (p[8] != VERSION || p[9] != ECDSA_P256_SHA256)
        return CMX_ENOTSUP;
    t->signed_len = cmx_le32(p + 12);
    memcpy(t->key_id, p + 16, sizeof t->key_id);
    memcpy(t->signature, p + CMX_TRAILER_SIGNED_LEN, sizeof t->signature);
    put_head(t, head); /* a trailer has one valid form: any other length, or other reserved bytes, is refused */
    return memcmp(p, head, sizeof head) == 0 ? CMX_OK : CMX_EFORMAT;
}

void cmx_trailer_write(const struct cmx_trailer *t, uint8_t *out)
{
    put_head(t, out);
    memcpy(out + CMX_TRAILER_SIGNED_LEN, t->signature, sizeof t->signature);
}

cmx_err cmx_trailer_key_id(const uint8_t pub[CMX_P256_PUBLIC_LEN], uint8_t id[CMX_TRAILER_KEY_ID_LEN])
{
    uint8_t sha[CMX_SHA256_LEN];
    cmx_err err = cmx_sha256_of(pub, CMX_P256_PUBLIC_LEN, sha);

    if (!err)
        memcpy(id, sha, CMX_TRAILER_KEY_ID_LEN);
    return err;
}

void cmx_trailer_message(const struct cmx_trailer *t, const uint8_t image_sha[CMX_SHA256_LEN],
                         uint8_t out[CMX_TRAILER_MESSAGE_LEN])
{
    put_head(t, out);
    memcpy(out + CMX_TRAILER_SIGNED_LEN, image_sha, CMX_SHA256_LEN);
}

cmx_err cmx_trailer_verify(const struct cmx_trailer *t, const struct cmx_ota_keys *keys, uint32_t signed_len,
                           const uint8_t image_sha[CMX_SHA256_LEN])
{
    uint8_t message[CMX_TRAILER_MESSAGE_LEN], digest[CMX_SHA256_LEN], id[CMX_TRAILER_KEY_ID_LEN];
    cmx_err err;

    if (t->signed_len != signed_len)
        return CMX_ESIG;
    cmx_trailer_message(t, image_sha, message);
    err = cmx_sha256_of(message, sizeof message, digest);
    if (err)
        return err;
    for (size_t i = 0; i < keys->n; i++) {
        err = cmx_trailer_key_id(keys->key[i], id);
        if (err)
            return err;
        if (memcmp(id, t->key_id, sizeof id) == 0)
            return cmx_p256_verify(keys->key[i], digest, t->signature);
    }
    return CMX_ENOKEY;
}

/* ---- public keys as text ---- */

/* Decodes base64 (RFC 4648 section 4). Skips white space and '=', and each dash with the rest of its line. The result
 * must have exactly cap bytes. */
static cmx_err pem_decode(const char *s, uint8_t *out, size_t cap)
{
    char plain[(sizeof spki + CMX_P256_PUBLIC_LEN + 2) / 3 * 4 + 1];
    size_t n = 0, len;
    cmx_err err;

    for (; *s; s++) {
        if (*s == '-')
            s += strcspn(s, "\n");
        if (*s == '\0')
            break;
        if (strchr(" \n\r\t=", *s))
            continue;
        if (n == sizeof plain)
            return CMX_EINVAL;
        plain[n++] = *s;
    }
    err = cmx_base64_decode(out, cap, plain, n, &len);
    if (err)
        return err == CMX_ENOSPC ? CMX_EINVAL : err;
    return len == cap ? CMX_OK : CMX_EINVAL;
}

cmx_err cmx_ota_keys_add(struct cmx_ota_keys *keys, const char *text)
{
    uint8_t der[sizeof spki + CMX_P256_PUBLIC_LEN];
    uint8_t *point = der + sizeof spki;
    const uint8_t nothing[CMX_P256_SIG_LEN] = {0};
    cmx_err err;

    if (keys->n == CMX_OTA_KEYS_MAX)
        return CMX_ENOSPC;
    if (cmx_text_hex_decode(point, CMX_P256_PUBLIC_LEN, text) != CMX_OK) {
        err = pem_decode(text, der, sizeof der);
        if (err)
            return err;
        if (memcmp(der, spki, sizeof spki) != 0)
            return CMX_EINVAL;
    }
    /* This call only checks that the point is on the curve: CMX_EINVAL if it is not. A signature of zeros is never
     * valid, so a good point gives CMX_ESIG. */
    err = cmx_p256_verify(point, nothing, nothing);
    if (err != CMX_ESIG)
        return err == CMX_OK ? CMX_EINTERNAL : err;
    memcpy(keys->key[keys->n++], point, CMX_P256_PUBLIC_LEN);
    return CMX_OK;
}
