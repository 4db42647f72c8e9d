/* limits.h - the agent's limits on its heap, open files and core files. */
#pragma once

#include "agent/config/agent_config.h"

/* Limits core files to 0 bytes, because a core file would contain passwords and keys. The process that runs hooks
 * inherits this limit. */
void limits_core_files(void);

/* Limits the heap. Call this and limits_descriptors only after the process that runs hooks was started, because that
 * process must not inherit the limits on heap and open files. */
void limits_heap(const struct agent_config *c);

/* Raises the soft limit of open files to the number that the connections need, or to the hard limit if that is lower.
 * In a shell or container, the soft limit is often only 1,024. serves: HTTP services are running. If they started under
 * a limit of at most FD_SETSIZE, they cannot use higher descriptors (http_mhd.c). The limit then stays at most
 * FD_SETSIZE. */
void limits_descriptors(const struct agent_config *c, bool serves);
