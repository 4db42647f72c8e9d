#include "memory.h"

#include <malloc.h>
#include <stdbool.h>

#define REST_MS 2000 /* that long without work: it is over */

static struct {
    uint64_t work;
    uint64_t since_ms; /* work has not grown since */
    bool given_back;
} memory;

void memory_setup(void)
{
    /* An arena for each thread keeps the most that its session ever used; sessions seldom use it at the same time, and
     * their threads seldom wait for each other in here. */
    (void)mallopt(M_ARENA_MAX, 1); /* an allocator that does not know it stays as it was */
}

void memory_turn(uint64_t work, uint64_t now_ms)
{
    if (work != memory.work || !memory.since_ms) {
        memory.work = work;
        memory.since_ms = now_ms;
        memory.given_back = false;
        return;
    }
    if (memory.given_back || now_ms - memory.since_ms < REST_MS)
        return;
    memory.given_back = true;
    malloc_trim(0);
}
