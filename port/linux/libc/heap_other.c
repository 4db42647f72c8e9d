/* heap_other.c - for musl, whose threads share one heap that returns free memory by itself. */
#include "port/linux/libc/heap.h"

void cmx_heap_share(void)
{
}

void cmx_heap_trim(void)
{
}
