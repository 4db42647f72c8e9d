/* memory.h - keeps the agent's memory small: free memory is returned to the system when the sessions are idle, and the
 * heap has a limit. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "cmxsafe/core/err.h"

/* The part of the limit, in bytes, that does not depend on the connections: stacks of threads, libraries, buffers. With
 * a sanitizer it includes the sanitizer's shadow memory. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_LIMIT_BASE ((rlim_t)1 << 47)
#else
#define MEMORY_LIMIT_BASE ((rlim_t)256 << 20)
#endif

/* Limits the heap of the process (RLIMIT_DATA, soft). connections: the number that the contexts permit. An allocation
 * above the limit fails, and ends the session that needs it. A later call may raise the limit but never lowers it,
 * since the memory may be in use. A lower limit that another program has set stays. CMX_EIO: the limit
 * cannot be read or set. */
CMX_MUST_USE cmx_err memory_limit(size_t connections);

/* Call it at each turn of the agent's loop. work: a number that changes while sessions work (bytes moved, logins).
 * True: the sessions are idle, and free memory was given back to the system. */
bool memory_turn(uint64_t work, uint64_t now_ms);
