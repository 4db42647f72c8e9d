#include "cmxsafe/port/crypto.h"

cmx_err cmx_hmac_of_two(const uint8_t key[CMX_HMAC_KEY_LEN], const void *head, size_t head_len, const void *data,
                        size_t len, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_hmac mac;
    cmx_err err = cmx_hmac_init(&mac, key, CMX_HMAC_KEY_LEN);

    if (err)
        return err;
    err = cmx_hmac_update(&mac, head, head_len);
    if (!err)
        err = cmx_hmac_update(&mac, data, len);
    if (!err)
        return cmx_hmac_finish(&mac, out);
    cmx_hmac_abort(&mac);
    return err;
}
