/* next_named.c - for a C library that has aliases of its allocator: glibc, and musl when it is linked statically.
 */
#include "port/linux/libc/next_malloc.h"

extern void __libc_free(void *p);
extern void *__libc_realloc(void *p, size_t size);

void cmx_next_free(void *p)
{
    __libc_free(p);
}

void *cmx_next_realloc(void *p, size_t size)
{
    return __libc_realloc(p, size);
}
