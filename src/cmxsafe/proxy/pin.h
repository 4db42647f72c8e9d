/* pin.h - host-key pins: decides which host keys are accepted from a gateway. Parses OpenSSH fingerprints and
 * known_hosts lines. Does no I/O; hashes with crypto.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/hash_len.h"

#define CMX_PIN_BLOB_MAX 600 /* bytes; enough for an RSA key of 4,096 bits as RFC 4253 section 6.6 encodes it */

/* Host key types that a gateway may use (RFC 8709, RFC 5656, RFC 8332). ssh_options.c has their order of preference. */
typedef enum { CMX_HOSTKEY_ED25519, CMX_HOSTKEY_ECDSA, CMX_HOSTKEY_RSA, CMX_HOSTKEY_TYPES } cmx_hostkey_type;
#define CMX_HOSTKEY_ANY ((1u << CMX_HOSTKEY_TYPES) - 1)

struct cmx_pin {
    uint8_t digest[CMX_SHA256_LEN]; /* SHA-256 of the public key blob */
    unsigned types;                 /* bit mask of cmx_hostkey_type; all bits for a fingerprint, which names no type */
    bool revoked;                   /* this key is never accepted, even if another pin has it */
};

/* Parses a pin. text: "SHA256:<base64>", a known_hosts line "names type base64[ comment]", or "type base64[ comment]"
 * as in a .pub file; each may begin with the marker @revoked. CMX_EFORMAT: text is none of these, or has a marker other
 * than @revoked; CMX_ENOTSUP: the key type is not supported. */
CMX_MUST_USE cmx_err cmx_pin_parse(struct cmx_pin *pin, const char *text);

typedef enum { CMX_PIN_UNKNOWN = 0, CMX_PIN_ACCEPTED, CMX_PIN_REVOKED } cmx_pin_verdict;

/* Returns whether the pins accept or revoke the key with this digest; a revoked pin overrides the others. Each
 * comparison takes constant time. */
cmx_pin_verdict cmx_pin_check(const struct cmx_pin *pins, size_t n, const uint8_t digest[CMX_SHA256_LEN]);

/* Returns the key types of all pins that are not revoked, as one bit mask; 0: every pin is revoked. */
unsigned cmx_pin_types(const struct cmx_pin *pins, size_t n);

/* Returns the type that an OpenSSH key name ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa", ...) stands for;
 * CMX_HOSTKEY_TYPES: unknown. */
cmx_hostkey_type cmx_pin_type_of(const char *name, size_t len);
