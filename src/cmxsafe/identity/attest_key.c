#include "cmxsafe/identity/attest_key.h"

#include <string.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"

/* The struct must have no padding, because the line contains the base64 of all its bytes. */
_Static_assert(sizeof(struct cmx_attest_key) == CMX_UEID_LEN + CMX_P256_PUBLIC_LEN + 32, "bytes only");

static const char type[] = CMX_ATTEST_KEY_TYPE;

cmx_err cmx_attest_key_derive(cmx_hmac_fn hmac, void *arg, struct cmx_attest_key *out)
{
    uint8_t scalar[CMX_P256_SCALAR_LEN];
    cmx_err err = cmx_identity_ueid(hmac, arg, out->ueid);

    if (!err)
        err = cmx_identity_attest_key(hmac, arg, scalar, out->pub);
    cmx_secret_wipe(scalar, sizeof scalar);
    return err ? err : cmx_identity_appraisal_key(hmac, arg, out->appraisal);
}

cmx_err cmx_attest_key_print(const struct cmx_attest_key *k, struct cmx_buf *out)
{
    char name[13];

    cmx_buf_printf(out, "%s ", type);
    cmx_base64_encode(out, k, sizeof *k, 0);
    cmx_text_hex_encode(name, k->ueid + 1, 6);
    return cmx_buf_printf(out, " cmxsafe-%s", name);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

cmx_err cmx_attest_key_parse(const char *text, size_t len, struct cmx_attest_key *out)
{
    struct cmx_attest_key k;
    size_t n = 0, have = 0;
    cmx_err err;

    while (len > 0 && is_blank(*text)) {
        text++;
        len--;
    }
    if (len < sizeof type || memcmp(text, type, sizeof type - 1) != 0 || text[sizeof type - 1] != ' ')
        return CMX_EFORMAT;
    text += sizeof type;
    len -= sizeof type;
    while (n < len && !is_blank(text[n]))
        n++;
    err = cmx_base64_decode((uint8_t *)&k, sizeof k, text, n, &have);
    if (err || have != sizeof k || k.ueid[0] != 1 || k.pub[0] != 4)
        return CMX_EFORMAT;
    *out = k;
    return CMX_OK;
}
