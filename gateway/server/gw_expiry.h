/* gw_expiry.h - removes grants that have ended, and marks evidence that is too old as not trusted. Runs in a process
 * that may write the registry: the guard in system mode, or the process outside the namespaces in --user mode. */
#pragma once

#include <time.h>

#include "gateway/folder/gw_folder.h"

/* Must be zeroed before the first call. */
struct gw_expiry {
    struct timespec registry_mtime;
    struct timespec state_mtime; /* when the copy's state file (copy_state.h) was last changed */
    uint64_t due_ms;             /* when the rules must be rendered again (cmx_port_now_ms); 0: never */
    uint64_t noted_ms;           /* when this process last tried to store the current time in the registry */
    int64_t wall_due;            /* due_ms as Unix time; needed because the wall clock may be set forward */
    bool closed;                 /* the rules were rendered from a stale copy, so they allow nothing */
    bool failed;                 /* the last attempt failed, and the failure was logged */
    uint64_t retry_ms;           /* after a failure: when to try again */
};

/* Call this several times a second, with g's registry closed. Once a grant or evidence has ended, the copy has become
 * stale, or a command was killed or failed before its change was in force, applies the registry and makes the running
 * gateway check its sessions. If the registry is not shared, first removes ended grants from it; if they can't be
 * removed now, applies it without them. Returns true if it called gw_apply_change. Logs the first of several failures
 * in a row; later calls try again. */
bool gw_expiry_tick(struct gw_expiry *x, struct gw *g);
