#include <malloc.h>

#include "port/linux/libc/heap.h"

/* All threads share one arena. If each thread had its own, each arena would keep the memory of its session's peak,
 * although sessions seldom reach their peaks at the same time. The threads seldom wait for each other in malloc. */
void cmx_heap_share(void)
{
    (void)mallopt(M_ARENA_MAX, 1); /* fails with an allocator that has no such option */
}

void cmx_heap_trim(void)
{
    malloc_trim(0);
}
