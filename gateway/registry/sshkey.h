/* sshkey.h - parses a public key in OpenSSH's one-line form ("type base64 [comment]", RFC 4253 section 6.6) and
 * computes its SHA-256 fingerprint. Accepts ed25519, ECDSA, the keys of FIDO2 tokens ("sk-") and RSA of at least
 * GW_RSA_BITS_MIN bits. Refuses private keys. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/buf.h"
#include "gateway/registry/registry.h"

#define GW_KEY_TYPE_MAX 40
#define GW_KEY_BLOB_MAX 1500 /* base64 characters; an RSA key of 8,192 bits needs 1,400 */
#define GW_FINGERPRINT_MAX CMX_FINGERPRINT_LEN
#define GW_KEY_RAW_MAX 1100
#define GW_RSA_BITS_MIN 2048

struct gw_key {
    char type[GW_KEY_TYPE_MAX];
    char blob[GW_KEY_BLOB_MAX];
    char fingerprint[GW_FINGERPRINT_MAX];
    uint8_t raw[GW_KEY_RAW_MAX]; /* the decoded blob */
    size_t raw_len;
};

/* Parses a key. line: ends at the first newline or NUL. Options before the type are refused, because the registry
 * decides what a key may do. CMX_EFORMAT: a private key, or a malformed key. CMX_ENOTSUP: not a public key in OpenSSH's
 * one-line form, or a key of a type or size that is not accepted. */
CMX_MUST_USE cmx_err gw_key_parse(struct gw_key *k, const char *line, struct cmx_why *e);

/* True if text is a key or looks like one, rather than a path. */
bool gw_key_is_line(const char *text);

/* Reads a string of RFC 4251 section 5: its length in 4 bytes, then its bytes. *out is borrowed from b. CMX_ETRUNC: b
 * has too few bytes. */
CMX_MUST_USE cmx_err gw_key_get_string(struct cmx_buf *b, const uint8_t **out, size_t *len);

/* True for the key of a FIDO2 token, which a person must touch at each login. */
bool gw_key_is_token(const struct gw_key *k);

/* Reads the key in a file, after blank lines and comments. Refuses a file with another key after it. path "-": standard
 * input. */
CMX_MUST_USE cmx_err gw_key_read(struct gw_key *k, const char *path, struct cmx_why *e);
