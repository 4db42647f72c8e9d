#include "cmxsafe/port/crypto.h"

cmx_err cmx_sha256_of_two(const void *head, size_t head_len, const void *data, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_sha256 h;
    cmx_err err = cmx_sha256_init(&h);

    if (err)
        return err;
    err = cmx_sha256_update(&h, head, head_len);
    if (!err)
        err = cmx_sha256_update(&h, data, len);
    if (!err)
        return cmx_sha256_finish(&h, out);
    cmx_sha256_abort(&h);
    return err;
}

cmx_err cmx_sha256_of(const void *data, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    return cmx_sha256_of_two("", 0, data, len, out);
}
