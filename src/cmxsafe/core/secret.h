/* secret.h - handling of keys, MACs and passwords in memory. No I/O. */
#ifndef CMX_CORE_SECRET_H
#define CMX_CORE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Overwrites len bytes in a way that the compiler may not drop. */
void cmx_secret_wipe(void *p, size_t len);

/* Compares in time that depends on len alone. Secrets and MACs are never compared with memcmp. */
bool cmx_secret_equal(const void *a, const void *b, size_t len);

#ifdef __cplusplus
}
#endif
#endif
