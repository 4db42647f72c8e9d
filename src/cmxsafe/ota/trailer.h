/* trailer.h - the signature appended to an image: the last CMX_TRAILER_LEN bytes of the file. Decides whether one of
 * the configured keys signed exactly the bytes before the trailer. Pure: no I/O. The format is docs/OTA.md's, version
 * 1. All numbers are little-endian, as in the image. Each row below has a field's offset, its length in bytes and its
 * content:
 *
 *     0  8  magic  "CMXSIG\r\n" (a transfer that converts line endings breaks it)
 *     8  1  version 1
 *     9  1  algorithm 1: ECDSA P-256 with SHA-256 (FIPS 186-5)
 *    10  2  length of the trailer, 96
 *    12  4  length of the signed bytes: everything before the trailer
 *    16  8  key id: the first 8 bytes of SHA-256 over the public point (0x04 || X || Y)
 *    24  8  zero
 *    32 64  signature r || s, big-endian, over  trailer[0..32) || SHA-256(signed bytes)
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/port/crypto.h"

#define CMX_TRAILER_LEN 96
#define CMX_TRAILER_MAGIC_LEN 8
#define CMX_TRAILER_SIGNED_LEN 32 /* the trailer's first 32 bytes, which the signature covers */
#define CMX_TRAILER_MESSAGE_LEN (CMX_TRAILER_SIGNED_LEN + CMX_SHA256_LEN)
#define CMX_TRAILER_KEY_ID_LEN 8
#define CMX_OTA_KEYS_MAX 2 /* the current key and its successor */

extern const uint8_t cmx_trailer_magic[CMX_TRAILER_MAGIC_LEN];

struct cmx_ota_keys {
    size_t n; /* 0: signatures are not checked */
    uint8_t key[CMX_OTA_KEYS_MAX][CMX_P256_PUBLIC_LEN];
};

struct cmx_trailer {
    uint32_t signed_len; /* length of everything before the trailer */
    uint8_t key_id[CMX_TRAILER_KEY_ID_LEN];
    uint8_t signature[CMX_P256_SIG_LEN];
};

/* Parses a trailer. CMX_ETRUNC: len is not CMX_TRAILER_LEN; CMX_EFORMAT: not a trailer; CMX_ENOTSUP: an unknown version
 * or algorithm.
 */
CMX_MUST_USE cmx_err cmx_trailer_parse(struct cmx_trailer *t, const void *data, size_t len);

/* Writes a trailer. out: CMX_TRAILER_LEN bytes. */
void cmx_trailer_write(const struct cmx_trailer *t, uint8_t *out);

CMX_MUST_USE cmx_err cmx_trailer_key_id(const uint8_t pub[CMX_P256_PUBLIC_LEN], uint8_t id[CMX_TRAILER_KEY_ID_LEN]);

/* Writes the message for ECDSA with SHA-256: the trailer's first 32 bytes, then image_sha. image_sha: SHA-256 of
 * everything before the trailer. */
void cmx_trailer_message(const struct cmx_trailer *t, const uint8_t image_sha[CMX_SHA256_LEN],
                         uint8_t out[CMX_TRAILER_MESSAGE_LEN]);

/* Verifies a trailer. signed_len and image_sha: length and SHA-256 of the received bytes before the trailer. CMX_ESIG:
 * the trailer is for other bytes, or its signature does not match; CMX_ENOKEY: the signing key is not in keys. */
CMX_MUST_USE cmx_err cmx_trailer_verify(const struct cmx_trailer *t, const struct cmx_ota_keys *keys,
                                        uint32_t signed_len, const uint8_t image_sha[CMX_SHA256_LEN]);

/* Adds a public key: 130 hex digits (an uncompressed point) or the base64 of a PEM SubjectPublicKeyInfo, with or
 * without its BEGIN and END lines. CMX_EFORMAT: text has neither form; CMX_EINVAL: not a P-256 key; CMX_ENOSPC: there
 * are CMX_OTA_KEYS_MAX keys already. */
CMX_MUST_USE cmx_err cmx_ota_keys_add(struct cmx_ota_keys *keys, const char *text);
