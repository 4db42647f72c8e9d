/* cmxsafe - the operator's command. */
#include <string.h>

#include "cli.h"

static const struct cli_command commands[] = {
    {"attest", cmd_attest, "ask a device for its attestation and verify it"},
    {"identity", cmd_identity, "compute who a device is from its key"},
    {"image", cmd_image, "make and look at what goes into a device's flash"},
    {"gateway", cmd_gateway, "turn an OpenSSH server into a CMX-GW, and look after it"},
    {"update", cmd_update, "update a device over the air and see that it runs the new image"},
    {"version", cmd_version, "print the version and what it runs with"},
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return cmd_version(1, argv + 1);
    return cli_dispatch("cmxsafe", commands, sizeof commands / sizeof commands[0], argc, argv);
}
