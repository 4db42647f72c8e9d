/* gw_expiry.h - ends grants whose term is over, and evidence that is too old. Used by a process that may write the
 * registry: the one that watches the fleet's rules, or the process outside --user mode's namespaces. */
#pragma once

#include <time.h>

#include "gateway/folder/gw_folder.h"

/* A zeroed struct: nothing is known yet. */
struct gw_expiry {
    struct timespec registry_mtime;
    struct timespec state_mtime; /* of the copy's state file, which holds the last confirmation */
    uint64_t due_ms;             /* the next end, by the port's clock; 0: nothing ends */
    uint64_t noted_ms;           /* when the time was last written into the registry */
    int64_t wall_due;            /* due_ms by the wall clock, which may be set forward */
    bool closed;                 /* the rules were rendered from a stale copy, and allow nothing */
    bool failed;                 /* the last try failed, and was logged */
};

/* Call several times a second, with g's registry closed. Once a grant or evidence has ended, or the copy has become
 * stale, applies the registry and makes the running gateway check its sessions. If the registry is not shared, first
 * removes ended grants from it. Returns true if it applied the registry. A failure is logged once and tried again. */
bool gw_expiry_tick(struct gw_expiry *x, struct gw *g);
