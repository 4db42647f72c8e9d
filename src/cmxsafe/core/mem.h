/* mem.h - the only place that calls malloc (the linter refuses malloc elsewhere). Counts live memory, and lets a test
 * make the n-th allocation fail. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

/* Returns zeroed memory, or NULL. size > 0. */
CMX_MUST_USE void *cmx_mem_alloc(size_t size);

/* Returns a copy of s, or NULL when there is no memory. */
CMX_MUST_USE char *cmx_mem_strdup(const char *s);

/* p may be NULL. */
void cmx_mem_free(void *p);

/* Wipes the block, then frees it. For keys and passwords. p may be NULL. */
void cmx_mem_free_secret(void *p);

struct cmx_mem_stats {
    size_t live_bytes; /* allocated and not yet freed, without the headers */
    size_t live_blocks;
    size_t peak_bytes;
    size_t calls; /* allocations attempted since the start, failed ones included */
};

void cmx_mem_stats(struct cmx_mem_stats *out);

/* Sets peak_bytes to live_bytes. */
void cmx_mem_reset_peak(void);

/* For tests: the n-th allocation from now (1 = the next) fails, once. 0: no allocation fails. */
void cmx_mem_fail_at(size_t n);
