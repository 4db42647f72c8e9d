#include "cmxsafe/core/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cmxsafe/core/secret.h"

/* The header of each block. It stores the block's size, which cmx_mem_free and cmx_mem_free_secret need for counting
 * and wiping, and has malloc's alignment. */
union header {
    size_t size;
    max_align_t align;
};

static atomic_size_t live_bytes, live_blocks, peak_bytes;
static atomic_size_t calls, fail_at; /* size_t, because a 32-bit device has no 64-bit atomics */

/* The order is relaxed, because no other data depends on the counters. */
static size_t read_count(const atomic_size_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

static void note_peak(size_t now)
{
    size_t peak = read_count(&peak_bytes);

    while (now > peak && !atomic_compare_exchange_weak(&peak_bytes, &peak, now))
        ;
}

void *cmx_mem_alloc(size_t size)
{
    size_t call = atomic_fetch_add(&calls, 1) + 1;
    union header *h;

    if (call == read_count(&fail_at) || size > SIZE_MAX - sizeof *h)
        return NULL;
    h = calloc(1, sizeof *h + size);
    if (!h)
        return NULL;
    h->size = size;
    atomic_fetch_add(&live_blocks, 1);
    note_peak(atomic_fetch_add(&live_bytes, size) + size);
    return h + 1;
}

char *cmx_mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = cmx_mem_alloc(n);

    if (copy)
        memcpy(copy, s, n);
    return copy;
}

void cmx_mem_free(void *p)
{
    union header *h = p;

    if (!p)
        return;
    h--;
    atomic_fetch_sub(&live_bytes, h->size);
    atomic_fetch_sub(&live_blocks, 1);
    free(h);
}

void cmx_mem_free_secret(void *p)
{
    if (!p)
        return;
    cmx_secret_wipe(p, ((union header *)p - 1)->size);
    cmx_mem_free(p);
}

void cmx_mem_stats(struct cmx_mem_stats *out)
{
    out->live_bytes = read_count(&live_bytes);
    out->live_blocks = read_count(&live_blocks);
    out->peak_bytes = read_count(&peak_bytes);
    out->calls = read_count(&calls);
}

void cmx_mem_reset_peak(void)
{
    atomic_store(&peak_bytes, atomic_load(&live_bytes));
}

void cmx_mem_fail_at(size_t n)
{
    atomic_store(&fail_at, n ? atomic_load(&calls) + n : 0);
}
