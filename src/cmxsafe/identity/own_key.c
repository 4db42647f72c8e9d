#include "cmxsafe/identity/own_key.h"

#include "cmxsafe/core/secret.h"
#include "cmxsafe/port/port.h"

cmx_err cmx_own_key_make(void)
{
    uint8_t secret[CMX_PORT_SECRET_LEN];
    cmx_err err = cmx_port_secret_read(secret);

    if (err == CMX_ENOENT) {
        err = cmx_crypto_random(secret, sizeof secret);
        if (!err)
            err = cmx_port_secret_create(secret);
        if (err == CMX_EEXIST) /* another task created the secret meanwhile */
            err = CMX_OK;
    }
    cmx_secret_wipe(secret, sizeof secret);
    return err;
}

cmx_err cmx_own_key_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    uint8_t secret[CMX_PORT_SECRET_LEN];
    cmx_err err = cmx_port_secret_read(secret);

    (void)arg;
    if (!err)
        err = cmx_hmac_of_two(secret, "", 0, msg, len, out);
    cmx_secret_wipe(secret, sizeof secret);
    return err;
}

cmx_err cmx_own_key_load(void *arg, struct cmx_buf *out)
{
    return cmx_identity_ssh_private(cmx_own_key_hmac, arg, out);
}
