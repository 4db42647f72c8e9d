#include "cli/gateway/rollout.h"

static const char about[] = "Attests devices through the gateway and keeps each verdict for 'status' and 'show'. What "
                            "follows -- is given on to\n"
                            "'cmxsafe attest', with {name} and {address} replaced:\n"
                            "  cmxsafe gateway attest --all -- --key keys/{name}.bin --image firmware.bin";

int gw_cmd_attest(int argc, char **argv)
{
    struct gw_rollout job = {
        .command = "attest", .port = "8888", .parallel = "8", .first = "0", .stop_at = "100", .record = true};

    return gw_rollout_command(&job, "[NAME ...] [-- OPTION ...]", about, argc, argv);
}
