/* sha256.h - SHA-256 of what lies in one piece; port/crypto.h has it in pieces. */
#ifndef CMX_CORE_SHA256_H
#define CMX_CORE_SHA256_H

#include "cmxsafe/port/crypto.h"

#ifdef __cplusplus
extern "C" {
#endif

CMX_MUST_USE cmx_err cmx_sha256_of(const void *data, size_t len, uint8_t out[CMX_SHA256_LEN]);

#ifdef __cplusplus
}
#endif
#endif
