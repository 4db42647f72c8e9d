/* liveness.h - records which tasks have reported recently. The systemd watchdog is fed only while all tasks have
 * reported recently. A task is added by its first call to liveness_feed and removed when its thread ends. Any
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LIVENESS_TASKS_MAX 640 /* enough for one session, and so one task, per context */

/* Records that the calling task is alive at now_ms. If now_ms is in the future, the task may wait until then. */
void liveness_feed(uint64_t now_ms);

/* False if a task has not reported for limit_ms, or if there have been fewer than `expected` tasks for longer than
 * limit_ms (a task ended or never started). Only one thread may call it. */
bool liveness_ok(uint64_t now_ms, uint64_t limit_ms, unsigned expected);

unsigned liveness_tasks(void);
