#include "cmxsafe/attest/measure.h"

#include <stdbool.h>
#include <string.h>

#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/erased.h"
#include "cmxsafe/core/label.h"
#include "cmxsafe/core/secret.h"

static const char domain[] = CMX_DOMAIN_MEASUREMENT;

cmx_err cmx_measure_begin(struct cmx_sha256 *h, const uint8_t key[CMX_HMAC_KEY_LEN], const void *nonce,
                          size_t nonce_len, struct cmx_range range)
{
    uint8_t mem[sizeof domain + 8], secret[CMX_SHA256_LEN];
    struct cmx_buf b;
    cmx_err err;

    if (nonce_len < CMX_NONCE_MIN || nonce_len > CMX_NONCE_MAX)
        return CMX_EINVAL;
    cmx_buf_init(&b, mem, sizeof mem);
    cmx_buf_put(&b, domain, sizeof domain);
    cmx_buf_put_be32(&b, range.begin);
    err = cmx_buf_put_be32(&b, range.end);
    if (!err)
        err = cmx_hmac_of_two(key, mem, sizeof mem, nonce, nonce_len, secret);
    if (!err)
        err = cmx_sha256_init(h);
    if (!err) {
        err = cmx_sha256_update(h, secret, sizeof secret);
        if (err)
            cmx_sha256_abort(h);
    }
    cmx_secret_wipe(secret, sizeof secret);
    return err;
}

cmx_err cmx_measure_chunk(struct cmx_sha256 *h, const uint8_t *chunk, size_t len)
{
    uint8_t erased = cmx_erased_check(chunk, len);
    cmx_err err = cmx_sha256_update(h, &erased, 1);

    return err || erased ? err : cmx_sha256_update(h, chunk, len);
}
