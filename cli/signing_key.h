/* signing_key.h - a private key for signing images: a PEM file, or a key inside a token (a pkcs11: URI, RFC 7512). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/port/crypto.h"

struct signing_key; /* an EVP_PKEY */

/* Opens a key. where: a file or a URI. Prompts on the terminal for a file's passphrase, and for a token's PIN unless
 * the URI contains it. On failure prints the error and returns CMX_ENOKEY. */
CMX_MUST_USE cmx_err signing_key_open(struct signing_key **out, const char *where);
void signing_key_close(struct signing_key *key); /* key may be NULL */

CMX_MUST_USE cmx_err signing_key_public(struct signing_key *key, uint8_t pub[CMX_P256_PUBLIC_LEN]);

/* Signs with ECDSA over the SHA-256 of message. */
CMX_MUST_USE cmx_err signing_key_sign(struct signing_key *key, const void *message, size_t len,
                                      uint8_t sig[CMX_P256_SIG_LEN]);

/* Prints the public key to stdout as PEM. */
CMX_MUST_USE cmx_err signing_key_print_pem(struct signing_key *key);
