#include <malloc.h>

#include "port/linux/libc/heap.h"

/* An arena for each thread keeps the most that its session ever used; sessions seldom use it at the same time, and
 * their threads seldom wait for each other in here. */
void cmx_heap_share(void)
{
    (void)mallopt(M_ARENA_MAX, 1); /* fails with an allocator that has no such option */
}

void cmx_heap_trim(void)
{
    malloc_trim(0);
}
