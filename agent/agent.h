/* agent.h - the running agent: one thread of its own that waits for signals, control clients and news of the sessions;
 * the proxy's session tasks do the rest. */
#ifndef CMX_AGENT_AGENT_H
#define CMX_AGENT_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "confine.h"
#include "control.h"
#include "notify.h"
#include "status.h"

struct cmx_proxy;
struct isolation;

#define AGENT_READY_MS 30000 /* READY=1 is not held back longer than that */
#define AGENT_TICK_MS 1000

struct agent {
    const char *config_file;
    struct agent_config *config; /* in force */
    struct cmx_proxy *proxy;
    struct isolation *isolation; /* NULL: not enabled */

    struct confine_plan plan;
    char *plan_paths[CONFINE_PATHS_MAX]; /* the plan borrows them */
    size_t n_plan_paths;
    struct confine_report confinement;

    struct control *control;
    struct notify notify;
    int signals; /* signalfd */
    int wake;    /* eventfd: a session came up or went down */
    uint64_t started_ms;
    uint64_t loaded_ms;
    uint64_t fed_ms; /* the watchdog, last */
    uint64_t reload_failed_ms;
    char reload_error[256];
    char status_line[256]; /* as sent to systemd */
    bool ready;
    bool stopping;
    bool starved; /* the watchdog is not fed; said once */
};

/* Runs until SIGTERM or SIGINT. Returns the exit code. */
int agent_run(const char *config_file);

/* `--check`: reads, checks, says so. Returns the exit code. */
int agent_check(const char *config_file);

/* Reads the file again and applies it; on error the old configuration stays in force, which is logged. */
void agent_reload(struct agent *a);

/* Fills v from a; borrows. */
void agent_view(struct agent *a, struct status_view *v);

#endif
