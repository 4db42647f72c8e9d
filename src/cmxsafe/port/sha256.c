#include "cmxsafe/port/crypto.h"

cmx_err cmx_sha256_of(const void *data, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    struct cmx_sha256 h;
    cmx_err err = cmx_sha256_init(&h);

    if (err)
        return err;
    err = cmx_sha256_update(&h, data, len);
    if (!err)
        return cmx_sha256_finish(&h, out);
    cmx_sha256_abort(&h);
    return err;
}
