/* pin.h - host-key pins: which key may a gateway show? Reads OpenSSH fingerprints and known_hosts lines. No I/O;
 * hashing goes through crypto.h. */
#ifndef CMX_PROXY_PIN_H
#define CMX_PROXY_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#define CMX_PIN_BLOB_MAX 600 /* covers RSA of 4,096 bits, as RFC 4253 section 6.6 writes it */

/* Host key algorithms that a gateway may use, in the order we prefer them (RFC 8709, RFC 5656, RFC 8332). */
typedef enum { CMX_HOSTKEY_ED25519, CMX_HOSTKEY_ECDSA, CMX_HOSTKEY_RSA, CMX_HOSTKEY_TYPES } cmx_hostkey_type;
#define CMX_HOSTKEY_ANY ((1u << CMX_HOSTKEY_TYPES) - 1)

struct cmx_pin {
    uint8_t digest[32]; /* SHA-256 of the public key blob */
    unsigned types;     /* bit mask of cmx_hostkey_type: a fingerprint alone does not tell */
};

/* text: "SHA256:<base64>", or a known_hosts line: "[@marker ]names type base64[ comment]", or "type base64[ comment]"
 * as a .pub file has it. CMX_EFORMAT: none of these, or a revoked marker; CMX_ENOTSUP: a key type that is not used any
 * more. */
CMX_MUST_USE cmx_err cmx_pin_parse(struct cmx_pin *pin, const char *text);

/* Does a pin allow the key with this digest? Constant time for each pin. */
bool cmx_pin_match(const struct cmx_pin *pins, size_t n, const uint8_t digest[32]);

/* Union of the pins' types. */
unsigned cmx_pin_types(const struct cmx_pin *pins, size_t n);

/* The type of an OpenSSH key name ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", ...), or CMX_HOSTKEY_TYPES. */
cmx_hostkey_type cmx_hostkey_type_of(const char *name, size_t len);

/* "SHA256:..." of a digest; out holds 51 chars. */
void cmx_pin_fingerprint(char out[51], const uint8_t digest[32]);

#endif
