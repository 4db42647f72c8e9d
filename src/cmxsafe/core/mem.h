/* mem.h - the only place that calls malloc. Counts what is live, and lets a test fail the n-th allocation.
 * Everything that cmxsafe allocates goes through here (the linter refuses malloc elsewhere). Any thread. */
#ifndef CMX_CORE_MEM_H
#define CMX_CORE_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zeroed memory, or NULL. size > 0. */
CMX_MUST_USE void *cmx_mem_alloc(size_t size);

/* A copy of s, or NULL. */
CMX_MUST_USE char *cmx_mem_strdup(const char *s);

/* NULL is fine. */
void cmx_mem_free(void *p);

/* Wipes what was allocated, then frees. For keys and passwords. NULL is fine. */
void cmx_mem_free_secret(void *p);

struct cmx_mem_stats {
    size_t live_bytes; /* what callers asked for and have not freed */
    size_t live_blocks;
    size_t peak_bytes;
    size_t calls; /* allocations asked for since start */
};

void cmx_mem_stats(struct cmx_mem_stats *out);

/* Peak starts again at what is live now. */
void cmx_mem_reset_peak(void);

/* For tests: the n-th allocation from now (1 = the next) fails, once. 0 turns it off. */
void cmx_mem_fail_at(size_t n);

#ifdef __cplusplus
}
#endif
#endif
