#include "cli/gateway/rollout.h"

static const char about[] = "Attests devices through the gateway and keeps each verdict for 'status' and 'show'. What "
                            "follows -- is given on to\n"
                            "'cmxsafe attest', with {name} and {address} replaced:\n"
                            "  cmxsafe gateway attest --all -- --key keys/{name}.bin --image firmware.bin";

int gw_cmd_attest(int argc, char **argv)
{
    struct gw_rollout job = {
        .command = "attest", .port = "8888", .parallel = "8", .first = "0", .stop_at = "100", .record = true};
    const struct gw_option options[] = {
        GW_DIR_OPTION(job.common),
        {"all", NULL, "all devices", &job.all},
        {"group", "NAME", "the devices of this group", &job.group},
        {"port", "PORT", "where the service is (default 8888)", &job.port},
        {"parallel", "N", "how many at a time (default 8)", &job.parallel},
        {"first", "N", "that many one by one before the others; one failure among them stops", &job.first},
        {"stop-at", "PERCENT", "begin no more when that share has failed (default 100: never)", &job.stop_at},
        GW_JSON_OPTION(job.common),
        GW_DRY_RUN_OPTION(job.common),
    };
    struct gw_command_line line = {.command = "attest",
                                   .operands = "[NAME ...] [-- OPTION ...]",
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
