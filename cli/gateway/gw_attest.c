#include "cli/gateway/gw_rollout.h"

static const char about[] =
    "Attests devices through the gateway and stores each verdict for 'status' and 'show'. The arguments "
    "after -- go to 'cmxsafe attest', with {name} and {address} replaced:\n  cmxsafe gateway attest --all -- "
    "--key keys/{name}.bin --image firmware.bin";

int gw_cmd_attest(int argc, char **argv)
{
    struct gw_rollout job = {
        .command = "attest", .port = 8888, .pace = {.parallel = 8, .first = 0, .stop_at = 100}, .record = true};

    return gw_rollout_command(&job, "[OPTION ...]", about, argc, argv);
}
