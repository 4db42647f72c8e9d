/* mac.h - HMAC-SHA256 over two pieces of memory. Used for the tag of a token (evidence_token.c) and at the beginning of
 * each measurement (measure.c). */
#pragma once

#include "cmxsafe/core/buf.h"
#include "cmxsafe/port/crypto.h"

/* Computes the MAC of head followed by len bytes at data. Errors as for cmx_hmac. */
CMX_MUST_USE cmx_err cmx_attest_mac(const uint8_t key[32], const struct cmx_buf *head, const void *data, size_t len,
                                    uint8_t out[CMX_SHA256_LEN]);
