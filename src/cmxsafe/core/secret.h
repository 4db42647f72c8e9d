/* secret.h - wipes and compares keys, MACs and passwords in memory. No I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Overwrites len bytes; the compiler cannot remove the call. */
void cmx_secret_wipe(void *p, size_t len);

/* Compares in time that depends only on len. Secrets and MACs are never compared with memcmp. */
bool cmx_secret_equal(const void *a, const void *b, size_t len);
