/* cmxsafe - the operator's command. */
#include <errno.h>
#include <stdio.h>
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
    int status;

    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return cmd_version(1, argv + 1);
    status = cli_dispatch("cmxsafe", commands, sizeof commands / sizeof commands[0], argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_fail("writing the output failed", strerror(errno), NULL); /* the disk may be full, for example */
    return status;
}
