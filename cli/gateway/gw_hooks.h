/* gw_hooks.h - runs the programs in the gateway's folder hooks.d for events. Each program gets one line of JSON on its
 * stdin. Limits how many programs run at the same time, and how long each may run. No session waits for a program. */
#pragma once

#include "cli/gateway/gw_position.h"
#include "gateway/folder/gw_folder.h"

#define GW_HOOKS_QUEUE 256 /* maximum number of waiting events; further ones are dropped, which is logged */
#define GW_HOOKS_AT_ONCE 4 /* maximum number of programs that run at the same time */
#define GW_HOOK_MAX_S 10   /* SIGALRM ends a program that takes longer */
#define GW_HOOK_TEXT_MAX 700

struct gw_hooks {
    struct gw_hook_event {
        char text[GW_HOOK_TEXT_MAX];
        struct gw_position before; /* a worker that continues from there adds the event again */
    } queue[GW_HOOKS_QUEUE];
    size_t first, n;
    struct gw_hook {
        pid_t pid; /* 0: no program is running */
        char name[NAME_MAX + 1];
        struct gw_position before; /* as for the event that the program received */
    } running[GW_HOOKS_AT_ONCE];
    char last[NAME_MAX + 1]; /* the last hook that received the event queue[first]; "": none yet */
    uint64_t dropped;
    struct gw_position read; /* events up to there were added */
};

/* Adds an event. what: "up", "down", or an entry's kind in the audit trail ("quarantine", "expire", ...). */
void gw_hooks_add(struct gw_hooks *h, const char *what, const char *who, const char *detail, int64_t at);
/* Adds an event for each new entry of the audit trail; entries wait there while many events wait here. g must be open.
 */
CMX_MUST_USE cmx_err gw_hooks_read_trail(struct gw_hooks *h, struct gw *g, struct cmx_why *e);
/* Returns the position up to which every event has reached all programs, and these have ended. */
struct gw_position gw_hooks_handled(const struct gw_hooks *h);
/* Reaps programs that ended, logs those that failed, and starts others. */
void gw_hooks_run(struct gw_hooks *h, const struct gw *g);
/* Checks the folder hooks.d. CMX_EINVAL: it has a file that is not run. e names the file, the reason, and after "; "
 * what to do. Files whose names begin with '.' are never run. */
CMX_MUST_USE cmx_err gw_hooks_check(const struct gw *g, struct cmx_why *e);
