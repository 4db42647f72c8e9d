/* base64.h - base64 of RFC 4648, encoding only. Pure. Its table look-ups depend on the data: private keys are encoded
 * on the device that owns them, where no other tenant shares the cache. */
#ifndef CMX_CORE_BASE64_H
#define CMX_CORE_BASE64_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Section 4, padded; line: a newline after that many characters and at the end, 0 for none. Appends. CMX_ENOSPC: out
 * may hold a part. */
CMX_MUST_USE cmx_err cmx_base64_encode(struct cmx_buf *out, const void *data, size_t len, size_t line);

/* Section 5 (URL and filename safe), unpadded, no newline. */
CMX_MUST_USE cmx_err cmx_base64url_encode(struct cmx_buf *out, const void *data, size_t len);

#ifdef __cplusplus
}
#endif
#endif
