/* rollout.h - one command for many devices, some at a time, stopping when too many fail: attest and update. */
#ifndef CLI_GW_ROLLOUT_H
#define CLI_GW_ROLLOUT_H

#include "cli/gateway/gw.h"

#define GW_ROLLOUT_PARALLEL_MAX 64

struct gw_rollout {
    struct gw_common common;
    const char *command; /* "attest": this program's own subcommand */
    bool all;
    const char *group;
    const char *port;
    const char *parallel;     /* how many at a time */
    const char *first;        /* that many alone first; any failure among them stops */
    const char *stop_at;      /* percent of failures (of those done) at which no more are begun */
    char **arguments;         /* given on to each; {name} and {address} are replaced */
    const char *const *names; /* devices named one by one */
    size_t n_names;
    bool record; /* keep the verdict in the registry */
};

/* The subcommand: job holds its defaults; about is the help's paragraph. CLI_OK when every device succeeded. Prints a
 * line for each as it ends. */
int gw_rollout_command(struct gw_rollout *job, const char *operands, const char *about, int argc, char **argv);

#endif
