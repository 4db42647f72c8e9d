/* fill.c - keyed, incompressible filler for free flash (manifest.h). */
#include <string.h>

#include "cmxsafe/core/label.h"
#include "gateway/verify/manifest.h"

#define BLOCK 32

static const char domain[] = CMX_DOMAIN_FILL;

cmx_err cmx_fill(const void *key, size_t key_len, uint32_t address, uint8_t *out, size_t len)
{
    struct cmx_hmac mac;
    uint64_t end = (uint64_t)address + len;
    uint8_t msg[sizeof domain + 8], block[BLOCK];
    cmx_err err;

    if (key_len < CMX_FILL_KEY_MIN)
        return CMX_EINVAL;
    err = cmx_hmac_init(&mac, key, key_len);
    if (err)
        return err;
    memcpy(msg, domain, sizeof domain);
    for (uint64_t i = address / BLOCK; !err && i * BLOCK < end; i++) {
        uint64_t first = i * BLOCK < address ? address - i * BLOCK : 0; /* bytes of the block that lie before address */
        uint64_t last = (i + 1) * BLOCK > end ? end - i * BLOCK : BLOCK;

        for (size_t k = 0; k < 8; k++)
            msg[sizeof domain + k] = (uint8_t)(i >> (56 - 8 * k));
        err = cmx_hmac_update(&mac, msg, sizeof msg);
        if (!err)
            err = cmx_hmac_restart(&mac, block);
        if (!err)
            memcpy(out + (i * BLOCK + first - address), block + first, (size_t)(last - first));
    }
    cmx_hmac_abort(&mac);
    return err;
}
