#include "cli/gateway/rollout.h"

static const char about[] =
    "Rolls an update out through the gateway: some devices first, one by one, then the others, and no further when too "
    "many\n"
    "fail. What follows -- is given on to 'cmxsafe update', with {name} and {address} replaced:\n"
    "  cmxsafe gateway update --group cameras --first 3 --stop-at 5 -- firmware.bin";

int gw_cmd_update(int argc, char **argv)
{
    struct gw_rollout job = {.command = "update", .port = "8989", .parallel = "4", .first = "1", .stop_at = "10"};

    return gw_rollout_command(&job, "[NAME ...] -- FILE [OPTION ...]", about, argc, argv);
}
