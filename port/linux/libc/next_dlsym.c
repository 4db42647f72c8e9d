/* next_dlsym.c - for musl's shared library, which exports no aliases of its allocator. Finds the allocator with dlsym,
 * which allocates nothing in musl. */
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "port/linux/libc/next_malloc.h"

/* If two threads look the function up at the same time, both store the same address. */
static void *find(_Atomic(void *) *slot, const char *name)
{
    void *p = atomic_load_explicit(slot, memory_order_relaxed);

    if (!p) {
        p = dlsym(RTLD_NEXT, name);
        atomic_store_explicit(slot, p, memory_order_relaxed);
    }
    return p;
}

void cmx_next_free(void *p)
{
    static _Atomic(void *) slot;
    void *found = find(&slot, "free");
    void (*call)(void *);

    memcpy(&call, &found, sizeof call); /* turns void * into a function pointer: see POSIX, dlsym, rationale */
    call(p);
}

void *cmx_next_realloc(void *p, size_t size)
{
    static _Atomic(void *) slot;
    void *found = find(&slot, "realloc");
    void *(*call)(void *, size_t);

    memcpy(&call, &found, sizeof call);
    return call(p, size);
}
