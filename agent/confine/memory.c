#include "agent/confine/memory.h"

#include <sys/resource.h>

#include "port/linux/libc/heap.h"

/* Heap that one connection may need, in bytes: libssh's channel window (up to 2 MB), and as much again for bytes that
 * wait for the local socket. */
#define EACH ((rlim_t)4 << 20)
#define REST_MS 2000 /* the sessions are idle after this long without work */

static struct {
    uint64_t work;
    uint64_t since_ms; /* when `work` last changed; 0: memory_turn was never called */
    bool given_back;
    rlim_t limit; /* the limit that this process set; 0: none */
} memory;

cmx_err memory_limit(size_t connections)
{
    struct rlimit limit;
    rlim_t bytes = MEMORY_LIMIT_BASE + (rlim_t)connections * EACH;

    if (getrlimit(RLIMIT_DATA, &limit) != 0)
        return CMX_EIO;
    if (memory.limit ? bytes <= memory.limit : bytes >= limit.rlim_cur)
        return CMX_OK;
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    if (setrlimit(RLIMIT_DATA, &limit) != 0)
        return CMX_EIO;
    memory.limit = limit.rlim_cur;
    return CMX_OK;
}

bool memory_turn(uint64_t work, uint64_t now_ms)
{
    if (work != memory.work || !memory.since_ms) {
        memory.work = work;
        memory.since_ms = now_ms;
        memory.given_back = false;
    } else if (!memory.given_back && now_ms - memory.since_ms >= REST_MS) {
        memory.given_back = true;
        cmx_heap_trim();
    }
    return memory.given_back;
}
