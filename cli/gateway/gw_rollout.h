/* gw_rollout.h - runs attest or update for many devices, several at a time. After too many failures it starts no
 * further device. */
#pragma once

#include "cli/gateway/gw_command.h"
#include "gateway/registry/campaign.h"

#define GW_ROLLOUT_PARALLEL_MAX 64

/* A selection of devices. */
struct gw_selection {
    bool all;
    const char *group;
    const char *const *names; /* names of single devices */
    size_t n_names;
};
#define GW_SELECTION_OPTIONS(s)                                                                                        \
    CLI_FLAG("all", "all devices", &(s).all), CLI_TEXT("group", "NAME", "the devices of this group", &(s).group)

/* p: a struct gw_pace */
#define GW_PACE_OPTIONS(p)                                                                                             \
    CLI_NUMBER("parallel", "N", 1, GW_ROLLOUT_PARALLEL_MAX, "how many devices at a time", &(p).parallel),              \
        CLI_NUMBER("first", "N", 0, 1000000,                                                                           \
                   "begin with this many devices, one by one; a failure among them stops the rest", &(p).first),       \
        CLI_NUMBER("stop-at", "PERCENT", 1, 100,                                                                       \
                   "stop once this share of the finished devices has failed; 100: never stop", &(p).stop_at)

struct gw_rollout {
    struct gw_common common;
    const char *command; /* this program's subcommand, such as "attest" */
    struct gw_selection selection;
    uint64_t port;
    struct gw_pace pace;
    char **arguments; /* passed to each child; {name} and {address} are replaced */
    bool record;      /* store the verdict in the registry */
};

/* Parses the command line into job, which holds the defaults, and runs the subcommand for each selected device. Prints
 * a line for each device that is done. Returns CLI_OK if every device succeeded. In a dry run, the subcommand checks
 * its options and files for each device, and contacts none. Two parameters are texts for --help: rest names the
 * arguments after "--", and about describes the command. */
int gw_rollout_command(struct gw_rollout *job, const char *rest, const char *about, int argc, char **argv);

/* Checks that s selects devices in one way only. CLI_OK; on CLI_USAGE the error was printed. command: the
 * command as the user types it. */
int gw_selection_check(const struct gw_selection *s, const char *command);

/* Calls fn once for each selected device, including revoked ones. CMX_ENOENT: one of the names belongs to no device, or
 * no device is in the group. */
CMX_MUST_USE cmx_err gw_rollout_select(struct gw *g, const struct gw_selection *s, gw_device_fn fn, void *arg,
                                       struct cmx_why *e);
