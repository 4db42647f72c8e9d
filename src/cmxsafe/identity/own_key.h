/* own_key.h - the SSH key of a device without a hardware key. At its first start the device generates a secret, which
 * the platform stores (port.h, cmx_port_secret_*), and derives the key from it as identity.h does from a hardware key.
 * Anyone who can read the storage has the key. Evidence needs a hardware key and cannot be made with this secret. */
#pragma once

#include "cmxsafe/identity/identity.h"

/* Generates and stores the secret unless one is stored. Any task. CMX_ENOTSUP: the platform cannot store a secret.
 * CMX_EIO: generating, reading or storing failed. */
CMX_MUST_USE cmx_err cmx_own_key_make(void);

/* Computes HMAC-SHA256 under the secret, as a cmx_hmac_fn; arg is not used. CMX_ENOENT: there is no secret. */
CMX_MUST_USE cmx_err cmx_own_key_hmac(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);

/* Appends the private key to out, as cmx_identity_ssh_private does; has the type of cmx_gateway.key_load. arg is not
 * used. */
CMX_MUST_USE cmx_err cmx_own_key_load(void *arg, struct cmx_buf *out);
