/* liveness.h - which tasks have shown life lately: the systemd watchdog is fed only while all have. A task enters by
 * its first feed and leaves when its thread ends. Any thread. */
#ifndef CMX_AGENT_LIVENESS_H
#define CMX_AGENT_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

#define LIVENESS_TASKS_MAX 640 /* each context may have a session, and so a task, of its own */

/* The calling task is alive at now_ms, which may be in the future: until then it may wait. */
void liveness_feed(uint64_t now_ms);

/* True while each of the tasks has fed within limit_ms and there have not been fewer than `expected` of them for longer
 * than that (a task that ended, or never came). For one caller. */
bool liveness_ok(uint64_t now_ms, uint64_t limit_ms, unsigned expected);

unsigned liveness_tasks(void);

#endif
