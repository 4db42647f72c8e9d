/* gw_worker_child.h - keeps 'cmxsafe gateway worker', and with a shared registry 'cmxsafe gateway follow', running
 * beside the process that watches the fleet's rules. */
#pragma once

#include "gateway/folder/gw_folder.h"

#define GW_WORKERS 2

/* A zeroed struct means that no process has been started yet. */
struct gw_worker_child {
    pid_t pid[GW_WORKERS];
    uint64_t started_ms[GW_WORKERS];
};

/* Call this several times a second. Starts the processes, and restarts those that ended. They end when this process
 * ends. In a small deployment it starts none. Also reaps orphans, which this process inherits in a container.
 * other: a child that the caller itself waits for; 0: none. */
void gw_worker_watch(struct gw_worker_child *w, const struct gw *g, pid_t other);
void gw_worker_stop(struct gw_worker_child *w);
