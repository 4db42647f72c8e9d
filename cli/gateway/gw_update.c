#include "cli/gateway/gw_rollout.h"

static const char about[] =
    "Updates devices through the gateway: the first ones one by one, then the others. When too many "
    "updates fail, the command starts no more. The arguments after -- go to 'cmxsafe update', with {name} and "
    "{address} "
    "replaced:\n  cmxsafe gateway update --group cameras --first 3 --stop-at 5 -- firmware.bin\n"
    "'cmxsafe gateway campaign' updates devices in the background, so no terminal has to stay open.";

int gw_cmd_update(int argc, char **argv)
{
    struct gw_rollout job = {.command = "update", .port = 8989, .pace = {.parallel = 4, .first = 1, .stop_at = 10}};

    return gw_rollout_command(&job, "FILE [OPTION ...]", about, argc, argv);
}
