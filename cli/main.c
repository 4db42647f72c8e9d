/* cmxsafe - the operator's command. */
#include <string.h>

#include "cli/cmd.h"
#include "port/linux/cli.h"

static const struct cli_command commands[] = {
    {"attest", cmd_attest, "verify the attestation of a device"},
    {"identity", cmd_identity, "compute a device's public identity from its hardware key"},
    {"image", cmd_image, "sign, check and describe firmware images"},
    {"gateway", cmd_gateway, "set up and operate a CMX-GW on an OpenSSH server"},
    {"update", cmd_update, "update a device over the air and wait until it runs the new image"},
    {"version", cmd_version, "print the version of cmxsafe and of its libraries"},
};

int main(int argc, char **argv)
{
    cli_begin();
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return cli_end(cmd_version(1, argv + 1));
    return cli_end(cli_dispatch("cmxsafe", commands, sizeof commands / sizeof commands[0], argc, argv));
}
