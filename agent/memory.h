/* memory.h - how much of what sessions have used stays with the process: one heap for all threads, and what the
 * allocator keeps of it goes back to the system when the sessions rest. */
#ifndef CMX_AGENT_MEMORY_H
#define CMX_AGENT_MEMORY_H

#include <stdint.h>

/* Before the first thread. */
void memory_setup(void);

/* At each turn of the agent's loop. work: any number that grows with what is done (bytes moved, logins). */
void memory_turn(uint64_t work, uint64_t now_ms);

#endif
