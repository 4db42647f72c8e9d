#include <malloc.h>

#include "port/linux/libc/heap.h"

/* All threads share one arena. With one for each thread, each arena would keep the peak of its session's use, although
 * sessions seldom peak at the same time. The threads seldom wait for each other in malloc. */
void cmx_heap_share(void)
{
    (void)mallopt(M_ARENA_MAX, 1); /* fails with an allocator that has no such option */
}

void cmx_heap_trim(void)
{
    malloc_trim(0);
}
