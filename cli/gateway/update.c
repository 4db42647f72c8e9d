#include "cli/gateway/rollout.h"

static const char about[] =
    "Rolls an update out through the gateway: some devices first, one by one, then the others, and no further when too "
    "many\n"
    "fail. What follows -- is given on to 'cmxsafe update', with {name} and {address} replaced:\n"
    "  cmxsafe gateway update --group cameras --first 3 --stop-at 5 -- firmware.bin";

int gw_cmd_update(int argc, char **argv)
{
    struct gw_rollout job = {.command = "update", .port = "8989", .parallel = "4", .first = "1", .stop_at = "10"};
    const struct gw_option options[] = {
        GW_DIR_OPTION(job.common),
        {"all", NULL, "all devices", &job.all},
        {"group", "NAME", "the devices of this group", &job.group},
        {"port", "PORT", "where the service is (default 8989)", &job.port},
        {"parallel", "N", "how many at a time (default 4)", &job.parallel},
        {"first", "N", "that many one by one before the others (default 1); one failure among them stops", &job.first},
        {"stop-at", "PERCENT", "begin no more when that share has failed (default 10)", &job.stop_at},
        GW_JSON_OPTION(job.common),
        GW_DRY_RUN_OPTION(job.common),
    };
    struct gw_command_line line = {.command = "update",
                                   .operands = "[NAME ...] -- FILE [OPTION ...]",
                                   .about = about,
                                   .max_operands = GW_COUNT(line.operand),
                                   .options = options,
                                   .n_options = GW_COUNT(options)};
    int status;

    if (gw_args(&line, argc, argv, &status))
        return status;
    job.arguments = line.rest;
    job.names = line.operand;
    job.n_names = line.n_operands;
    return gw_rollout_run(&job);
}
